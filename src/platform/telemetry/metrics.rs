//! The numbers that the worker gives, rendered by the admin listener.
//!
//! OpenTelemetry's API, read by Prometheus, and by the collector's reader where there is one. Each floor makes its own instruments
//! ([`Metrics::instruments`]), once, so that nothing is looked up by name while events flow; those of the process are here.
//! docs/metrics.md explains each and is compared with all of them by a test.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{MeterProviderBuilder, SdkMeterProvider};
use prometheus::{Registry, TextEncoder};
use strum::VariantNames;

use super::TelemetryError;
use super::instruments::{Gauge, Instruments};
use super::losses::{Losses, Signal};

/// The metrics of one process. Clones share everything.
#[derive(Clone)]
pub struct Metrics(Arc<Process>);

struct Process {
    registry: Registry,
    /// Instruments are dead without it.
    provider: SdkMeterProvider,
    instruments: Instruments,

    pool: Gauge,
    pool_max: Gauge,
    database_up: Gauge,
    consul_up: Gauge,
}

impl Metrics {
    /// Registers the instruments of the process. The time of this call counts as its start.
    ///
    /// # Errors
    /// When the exporter cannot be registered, which a fresh registry does not refuse.
    pub fn new() -> Result<Self, TelemetryError> {
        Self::build(SdkMeterProvider::builder(), Losses::default())
    }

    /// To send what is in hand at the end.
    pub(super) fn provider(&self) -> SdkMeterProvider {
        self.0.provider.clone()
    }

    /// As [`new`](Metrics::new), and read by whom `provider` names as well; shows what telemetry itself has lost.
    pub(super) fn build(provider: MeterProviderBuilder, losses: Losses) -> Result<Self, TelemetryError> {
        let registry = Registry::new();
        // Names are written out in full, with their units, so that a search for one finds it.
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_units()
            .without_counter_suffixes()
            .without_target_info()
            .scope_info_enabled(false)
            .build()
            .map_err(|error| TelemetryError::Metrics(error.to_string()))?;
        let provider = provider.with_reader(exporter).build();
        let meter = provider.meter("order-worker");

        let start = SystemTime::now();
        meter
            .f64_gauge("order_worker_build_info")
            .with_description("Always 1; the label says what runs.")
            .build()
            .record(1.0, &[KeyValue::new("version", env!("CARGO_PKG_VERSION"))]);
        let make = Instruments(meter);
        make.standard_gauge("process_start_time_seconds", "When the process started, Unix time.")
            .set(&[], unix_seconds(start));

        let exports = losses.clone();
        make.observed(
            "otlp_exports_failed_total",
            "Sends of spans or metrics that the collector did not take.",
            &[("signal", Signal::VARIANTS)],
            move |values| values.first().and_then(|name| name.parse().ok()).map_or(0, |signal| exports.exports(signal)),
        );
        make.observed("log_lines_left_out_total", "Log lines left out of floods.", &[], move |_| losses.log_lines());

        let process = Process {
            registry,
            provider,
            pool: make.gauge(
                "database_pool_connections",
                "Connections of this process's pool.",
                &[("state", &["idle", "used"])],
            ),
            pool_max: make.gauge("database_pool_max", "Most connections that the pool may have.", &[]),
            database_up: make.gauge("database_up", "1 when Postgres answered the last probe.", &[]),
            consul_up: make.gauge("consul_up", "1 when Consul answered the last call.", &[]),
            instruments: make,
        };
        Ok(Self(Arc::new(process)))
    }

    /// For the instruments of another part.
    #[must_use]
    pub fn instruments(&self) -> &Instruments {
        &self.0.instruments
    }

    /// The text that Prometheus reads.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// When a name or a value cannot be written, which a test rules out for these instruments.
    pub fn render(&self) -> Result<String, TelemetryError> {
        let families = self.0.registry.gather();
        TextEncoder::new().encode_to_string(&families).map_err(|error| TelemetryError::Metrics(error.to_string()))
    }

    /// The pool has so many connections, of at most `max`.
    pub fn pool(&self, idle: u32, used: u32, max: u32) {
        self.0.pool.set_count(&["idle"], i64::from(idle));
        self.0.pool.set_count(&["used"], i64::from(used));
        self.0.pool_max.set_count(&[], i64::from(max));
    }

    /// Postgres answered, or not.
    pub fn database_up(&self, up: bool) {
        self.0.database_up.set_if(&[], up);
    }

    /// Consul answered, whatever it said, or not.
    pub fn consul_up(&self, up: bool) {
        self.0.consul_up.set_if(&[], up);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Unix time; a clock before 1970 counts as 1970.
#[must_use]
pub fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
