//! The numbers that the worker gives: made once, handed to every part, rendered by the admin
//! listener.
//!
//! OpenTelemetry's API, read by Prometheus, and by the collector's reader where there is one. Every
//! instrument is a field here, so that nothing is looked up by name while events flow.
//! docs/metrics.md explains each and is compared with this file by a test.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{MeterProviderBuilder, SdkMeterProvider};
use prometheus::{Registry, TextEncoder};

use super::instruments::{Counts, Level, Maker, Seconds};
use super::labels::{
    ConnectionState, FailReason, IncidentKind, Job, Outcome, Queue, Reason, RunOutcome, Topic, WarehouseMethod,
    WarehouseResult,
};
use super::losses::Losses;
use super::{Sample, TelemetryError};

/// The metrics of one process. Clones share everything.
#[derive(Clone)]
pub struct Metrics(Arc<Instruments>);

struct Instruments {
    registry: Registry,
    /// Instruments are dead without it.
    provider: SdkMeterProvider,

    consumed: Counts<Topic>,
    failed: Counts<(Topic, FailReason)>,
    duplicates: Counts<Topic>,
    outcomes: Counts<Outcome>,
    accept: Seconds,
    apply: Seconds,

    announcements: Counts<()>,
    publish: Seconds,
    warehouse_calls: Counts<(WarehouseMethod, WarehouseResult)>,

    cron_runs: Counts<(Job, RunOutcome)>,
    cron_items: Counts<Job>,
    cron_passed_over: Counts<Job>,
    cron_run: Seconds<Job>,
    cron_since_success: Level<Job>,

    reconcile_saved: Counts<Topic>,
    watermark_age: Level<()>,
    stream_alerts: Level<()>,
    cleanup_blocked: Level<Reason>,

    pending: Level<Queue>,
    oldest_age: Level<Queue>,
    dead: Level<Queue>,
    parked: Level<Queue>,
    quarantined: Level<()>,
    incidents: Level<IncidentKind>,
    oldest_transaction: Level<()>,
    partitions_ready: Level<()>,
    violations: Level<()>,
    proof_age: Level<()>,
    sampled_at: Level<()>,
    lanes_owned: Level<Queue>,
    paused: Level<Queue>,
    retries: Counts<Queue>,

    pool: Level<ConnectionState>,
    pool_max: Level<()>,
    database_up: Level<()>,
    sidecar_up: Level<()>,
    sidecar_resiliencies: Level<()>,
    redis_up: Level<()>,
    consul_up: Level<()>,
    warehouse_instances: Level<()>,
}

impl Metrics {
    /// Registers every instrument. The time of this call counts as the start of the process.
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
        let make = Maker(meter);
        make.standard_gauge("process_start_time_seconds", "When the process started, Unix time.")
            .set((), unix_seconds(start));

        let exports = losses.clone();
        make.counted(
            "otlp_exports_failed_total",
            "Sends of spans or metrics that the collector did not take.",
            move |signal| exports.exports(signal),
        );
        make.counted("log_lines_left_out_total", "Log lines left out of floods.", move |()| losses.log_lines());

        let instruments = Instruments {
            registry,
            provider,

            consumed: make.counter("payment_events_consumed_total", "Events accepted into the inbox, committed."),
            failed: make.counter("payment_events_failed_total", "Events that could not be handled."),
            duplicates: make.counter("payment_events_duplicates_total", "Events that the inbox had already."),
            outcomes: make.counter("inbox_outcomes_total", "How events of the inbox ended, or where they wait."),
            accept: make.seconds("accept_seconds", "From the receipt of an event to the commit that accepts it."),
            apply: make.seconds("apply_seconds", "From the receipt of an event to the commit that applies it."),

            announcements: make.counter("announcements_published_total", "Announcements that Dapr has taken."),
            publish: make.seconds(
                "publish_seconds",
                "From the receipt of the causing event, or the creation of the row, to the answer of the publish.",
            ),
            warehouse_calls: make.counter("warehouse_calls_total", "Calls of the warehouse by how they ended."),

            cron_runs: make.counter("cron_runs_total", "Runs of jobs that came to their end."),
            cron_items: make.counter("cron_items_total", "What jobs have cleaned or changed, committed."),
            cron_passed_over: make
                .counter("cron_passed_over_total", "Rows that a job could not do while it could do others."),
            cron_run: make.seconds("cron_run_seconds", "From the first batch of a run to the commit of its last."),
            cron_since_success: make.gauge(
                "cron_seconds_since_success",
                "Since the last run that succeeded, or since the job was registered; 0 for a disabled one.",
            ),

            reconcile_saved: make
                .counter("reconcile_saved_total", "Events accepted from a stream that Dapr had dropped."),
            watermark_age: make.gauge(
                "reconcile_watermark_age_seconds",
                "How long ago everything was published that is known to be in the inbox; -1: nobody knows.",
            ),
            stream_alerts: make.gauge(
                "reconcile_stream_alerts",
                "Streams that have lost what no look can find, or cannot be looked at.",
            ),
            cleanup_blocked: make.gauge(
                "cleanup_blocked",
                "1 while jobs do not give up what they would, since it is not known whether it was paid.",
            ),

            pending: make.gauge("queue_pending", "Rows to be done, in the whole database."),
            oldest_age: make.gauge("queue_oldest_age_seconds", "Age of the oldest row to be done."),
            dead: make.gauge("queue_dead", "Rows given up, until an operator acts."),
            parked: make.gauge("queue_parked", "Rows that wait behind a dead row of their key."),
            quarantined: make.gauge("quarantined", "Events with a known id and another body, until an operator acts."),
            incidents: make.gauge("incidents_open", "Incidents that nobody has resolved."),
            oldest_transaction: make.gauge(
                "database_oldest_transaction_seconds",
                "How long the oldest snapshot in the database is held, as far as it is seen.",
            ),
            partitions_ready: make
                .gauge("partitions_ready_days", "Days from tomorrow on that have their partitions; at most 31."),
            violations: make.gauge("audit_violations", "What the last conservation proof found."),
            proof_age: make.gauge("audit_age_seconds", "How long ago the last conservation proof was made; -1: never."),
            sampled_at: make.gauge("sample_timestamp_seconds", "When the sampled gauges were counted, Unix time."),
            lanes_owned: make.gauge("queue_lanes_owned", "Lanes that this process holds."),
            paused: make.gauge("queue_paused", "1 while this process takes nothing from the queue."),
            retries: make.counter("queue_retries_total", "Attempts that failed and will be made again."),

            pool: make.gauge("database_pool_connections", "Connections of this process's pool."),
            pool_max: make.gauge("database_pool_max", "Most connections that the pool may have."),
            database_up: make.gauge("database_up", "1 when Postgres answered the last probe."),
            sidecar_up: make.gauge("sidecar_up", "1 when the Dapr sidecar answered the last probe."),
            sidecar_resiliencies: make
                .gauge("sidecar_resiliencies", "Resiliency resources that the Dapr sidecar has loaded."),
            redis_up: make.gauge("redis_up", "1 when Redis answered the last probe."),
            consul_up: make.gauge("consul_up", "1 when Consul answered the last call."),
            warehouse_instances: make.gauge("warehouse_instances", "Instances of the warehouse that Consul names."),
        };
        for queue in Queue::ALL {
            instruments.lanes_owned.set_count(queue, 0);
            instruments.paused.set_if(queue, false);
        }
        Ok(Self(Arc::new(instruments)))
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// When a name or a value cannot be written, which a test rules out for these instruments.
    pub fn render(&self) -> Result<String, TelemetryError> {
        let families = self.0.registry.gather();
        TextEncoder::new().encode_to_string(&families).map_err(|error| TelemetryError::Metrics(error.to_string()))
    }

    /// New events of `topic` are committed in the inbox.
    pub fn events_consumed(&self, topic: Topic, count: u64) {
        self.0.consumed.add(topic, count);
    }

    /// An event cannot be handled, or not now.
    pub fn event_failed(&self, topic: Topic, reason: FailReason) {
        self.0.failed.add((topic, reason), 1);
    }

    /// Events of `topic` were in the inbox already.
    pub fn events_duplicated(&self, topic: Topic, count: u64) {
        self.0.duplicates.add(topic, count);
    }

    /// Events of the inbox came to an outcome.
    pub fn inbox_settled(&self, outcome: Outcome, count: u64) {
        self.0.outcomes.add(outcome, count);
    }

    /// An event was accepted, so long after its receipt.
    pub fn event_accepted(&self, since_receipt: Duration) {
        self.0.accept.record((), since_receipt);
    }

    /// An event was applied, so long after its receipt.
    pub fn event_applied(&self, since_receipt: Duration) {
        self.0.apply.record((), since_receipt);
    }

    /// Dapr took an announcement, so long after the receipt of the event that caused it, or after
    /// the creation of its row when no event did.
    pub fn announcement_published(&self, since_cause: Duration) {
        self.0.announcements.add((), 1);
        self.0.publish.record((), since_cause);
    }

    /// A call of the warehouse ended.
    pub fn warehouse_answered(&self, method: WarehouseMethod, result: WarehouseResult) {
        self.0.warehouse_calls.add((method, result), 1);
    }

    /// Events of `topic` were accepted from its stream.
    pub fn reconcile_saved(&self, topic: Topic, count: u64) {
        self.0.reconcile_saved.add(topic, count);
    }

    /// A batch of a job has changed so many items.
    pub fn cron_items(&self, job: Job, count: u64) {
        self.0.cron_items.add(job, count);
    }

    /// A job went on behind a row that it could not do.
    pub fn cron_passed_over(&self, job: Job) {
        self.0.cron_passed_over.add(job, 1);
    }

    /// A run came to its end, so long after its beginning where that is known.
    pub fn cron_finished(&self, job: Job, outcome: RunOutcome, took: Option<Duration>) {
        self.0.cron_runs.add((job, outcome), 1);
        if let Some(took) = took {
            self.0.cron_run.record(job, took);
        }
    }

    /// Attempts of `queue` failed and will be made again.
    pub fn queue_retried(&self, queue: Queue, count: u64) {
        self.0.retries.add(queue, count);
    }

    /// This process holds so many lanes of `queue`.
    pub fn lanes_owned(&self, queue: Queue, lanes: u16) {
        self.0.lanes_owned.set_count(queue, i64::from(lanes));
    }

    /// The queues and incidents were counted in the database, now.
    pub fn observe(&self, sample: &Sample) {
        for queue in Queue::ALL {
            let found = sample.queues.iter().find(|(name, _)| *name == queue);
            let sample = found.map(|(_, sample)| *sample).unwrap_or_default();
            self.0.pending.set_count(queue, sample.pending);
            self.0.oldest_age.set(queue, sample.oldest_age.as_secs_f64());
            self.0.dead.set_count(queue, sample.dead);
            self.0.parked.set_count(queue, sample.parked);
        }
        for kind in IncidentKind::ALL {
            let found = sample.incidents_open.iter().find(|(name, _)| *name == kind);
            self.0.incidents.set_count(kind, found.map_or(0, |(_, open)| *open));
        }
        for (job, since_success) in &sample.since_success {
            self.0.cron_since_success.set(*job, since_success.as_secs_f64());
        }
        self.0.watermark_age.set((), sample.watermark_age.unwrap_or(-1.0));
        for reason in Reason::ALL {
            self.0.cleanup_blocked.set_if(*reason, sample.cleanup_blocked.contains(reason));
        }
        self.0.stream_alerts.set_count((), sample.stream_alerts);
        self.0.quarantined.set_count((), sample.quarantined);
        self.0.oldest_transaction.set((), sample.oldest_snapshot.as_secs_f64());
        self.0.partitions_ready.set_count((), sample.partitions_ready);
        self.0.violations.set_count((), sample.proof.map_or(0, |(violations, _)| violations));
        self.0.proof_age.set((), sample.proof.map_or(-1.0, |(_, age)| age.as_secs_f64()));
        for queue in Queue::ALL {
            self.0.paused.set_if(queue, sample.paused.contains(&queue));
        }
        self.0.sampled_at.set((), unix_seconds(SystemTime::now()));
    }

    /// The pool has so many connections, of at most `max`.
    pub fn pool(&self, idle: u32, used: u32, max: u32) {
        self.0.pool.set_count(ConnectionState::Idle, i64::from(idle));
        self.0.pool.set_count(ConnectionState::Used, i64::from(used));
        self.0.pool_max.set_count((), i64::from(max));
    }

    /// Postgres answered, or not.
    pub fn database_up(&self, up: bool) {
        self.0.database_up.set_if((), up);
    }

    /// The sidecar answered, or not.
    pub fn sidecar_up(&self, up: bool) {
        self.0.sidecar_up.set_if((), up);
    }

    /// The sidecar has loaded so many resiliency resources.
    pub fn sidecar_resiliencies(&self, count: usize) {
        self.0.sidecar_resiliencies.set_count((), i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Redis answered, or not.
    pub fn redis_up(&self, up: bool) {
        self.0.redis_up.set_if((), up);
    }

    /// Consul answered, whatever it said, or not.
    pub fn consul_up(&self, up: bool) {
        self.0.consul_up.set_if((), up);
    }

    /// Calls of the warehouse are spread over so many instances; 0: they go to the configured endpoint.
    pub fn warehouse_instances(&self, count: usize) {
        self.0.warehouse_instances.set_count((), i64::try_from(count).unwrap_or(i64::MAX));
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Unix time; a clock before 1970 counts as 1970.
fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests;
