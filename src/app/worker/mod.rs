//! The worker: what runs when no subcommand is given.
//!
//! Starting: telemetry, the admin listener, then whatever is awaited (database, schema) is said and waited for; the event port
//! opens last, when everything behind it is there. Stopping is the same backwards: no new events, what is in hand is finished,
//! lanes are given back.

mod foundation;
mod mode;
mod pipeline;
mod renewal;
mod shutdown;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use mode::Mode;

use crate::app::config::{Config, Layers};
use crate::app::schema::{SchemaState, schema_state_directly};
use crate::app::signals::stop_on_signal;
use crate::app::{Metrics, runs};
use crate::engine::{queue, terms};
use crate::platform::connection::BadAddress;
use crate::platform::database::{self, POOLED, Unfit};
use crate::platform::health::Condition;
use crate::platform::telemetry::{self, TelemetryError};
use crate::shop::payments;
use foundation::Foundation;
use pipeline::Pipeline;
use shutdown::{LAST_MOMENT, Shutdown};

/// Between two looks at what is awaited.
const AWAIT: Duration = Duration::from_secs(1);

/// Why a worker ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Logs, traces or metrics.
    #[error("telemetry")]
    Telemetry(#[from] TelemetryError),
    /// A listener.
    #[error("cannot listen on {key} ({addr})")]
    Listen {
        /// The setting.
        key: &'static str,
        /// Its value.
        addr: String,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration of the database.
    #[error("the database")]
    Database(#[from] sqlx::Error),
    /// A pooler between the worker and its database.
    #[error("{POOLED}")]
    Pooled(#[source] sqlx::Error),
    /// The schema is too new for this binary.
    #[error("{0}")]
    Schema(String),
    /// A setting that passed the check and cannot be used all the same.
    #[error("configuration: {0}")]
    Configuration(String),
    /// The same of an address.
    #[error("configuration")]
    Address(#[from] BadAddress),
    /// The gRPC server.
    #[error("the event server")]
    Server(#[from] tonic::transport::Error),
    /// apalis.
    #[error("the queue's runtime ended: {0}")]
    Runtime(String),
}

/// Runs the worker until SIGTERM or SIGINT; a second one ends the process at once. `layers` are what `config` was read from, and
/// are read again for secrets that have changed.
///
/// # Errors
///
/// [`WorkerError`]: never for a part that is away, which is waited for.
pub async fn run(config: Config, layers: Layers, mode: Mode) -> Result<(), WorkerError> {
    let mut telemetry = telemetry::init(&config.worker.telemetry)?;
    let metrics = Metrics::over(telemetry.metrics()?);
    let stop = stop_on_signal();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), mode = %mode, "order-worker starts");
    let done = run_until(config, layers, mode, metrics, stop).await;
    match &done {
        Ok(Ended::Finished) => tracing::info!("order-worker stopped: nothing is in hand"),
        Ok(Ended::CutOff) => {
            tracing::warn!("order-worker stopped: what was in hand is sent again by the next worker, under its ids")
        }
        Err(error) => tracing::error!("order-worker ends: error={}", telemetry::chain(error)),
    }
    telemetry.shutdown().await;
    done.map(|_| ())
}

/// How a worker came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Nothing is in hand.
    Finished,
    /// Something still hung at the end of the grace period.
    CutOff,
}

async fn run_until(
    config: Config,
    layers: Layers,
    mode: Mode,
    metrics: Metrics,
    stop: CancellationToken,
) -> Result<Ended, WorkerError> {
    let (foundation, reporter) = Foundation::new(config, mode, metrics)?;
    let foundation = Arc::new(foundation);
    foundation.start_renewal(layers, &stop);
    foundation.start_admin(reporter, &stop).await?;
    if stoppable(&stop, foundation.await_schema()).await.transpose()?.is_none() {
        return Ok(Ended::Finished);
    }
    // Before the first job: it asks whether events were ever taken in here.
    if stoppable(&stop, foundation.register_terms()).await.is_none() {
        return Ok(Ended::Finished);
    }
    let shutdown = Shutdown::new(&stop, foundation.config.worker.shutdown.grace);
    let pipeline = Arc::new(Pipeline::new(&foundation, &shutdown.keep)?);
    flow(&foundation, &pipeline, &shutdown).await
}

/// Lets the data flow until the worker is to stop, and brings everything to its end.
async fn flow(foundation: &Foundation, pipeline: &Arc<Pipeline>, shutdown: &Shutdown) -> Result<Ended, WorkerError> {
    let Shutdown { stop, draining, keep, over, .. } = shutdown;
    pipeline.register_jobs(stop).await;
    let beside = Arc::clone(pipeline);
    let kept = keep.clone();
    let background = tokio::spawn(async move { beside.background(kept).await });
    foundation.start_pages(stop).await;
    pipeline.start_reconciliation(stop);
    let drained = draining.clone();
    let monitor = pipeline.monitor(shutdown);
    let mut queues = tokio::spawn(monitor.run_with_signal(async move {
        drained.cancelled().await;
        Ok(())
    }));

    let served = shutdown.within(pipeline.serve_events(stop)).await;
    // No new event comes in: what is in hand is finished.
    foundation.condition.send_replace(Condition::bad("stopping"));
    draining.cancel();
    let ended = tokio::select! {
        ended = &mut queues => Some(ended),
        () = async { over.cancelled().await; tokio::time::sleep(LAST_MOMENT).await } => None,
    };
    keep.cancel();
    let _ = background.await;
    if ended.is_some() {
        // A session that hangs is the database's to end.
        let close = async { tokio::join!(foundation.pool.close(), foundation.pages.close()) };
        let _ = tokio::time::timeout(LAST_MOMENT, close).await;
    } else {
        tracing::warn!("Sends still hang at the end of the grace period: they are cut off");
        queues.abort();
    }
    served?;
    match ended {
        None => Ok(Ended::CutOff),
        Some(Ok(Ok(()))) => Ok(Ended::Finished),
        Some(Ok(Err(error))) => Err(WorkerError::Runtime(error.to_string())),
        Some(Err(error)) => Err(WorkerError::Runtime(error.to_string())),
    }
}

impl Foundation {
    /// Waits until the database is there with a schema that fits.
    async fn await_schema(&self) -> Result<(), WorkerError> {
        let mut said = String::new();
        loop {
            let awaited = match schema_state_directly(&self.pool).await {
                Ok(SchemaState::Fits) => return Ok(()),
                Ok(SchemaState::Newer(why)) => return Err(WorkerError::Schema(why)),
                Ok(SchemaState::Older(why)) => format!("Waiting for the schema: {why}"),
                Err(error) if matches!(database::unfit(&error), Some(Unfit::Pooled(_))) => {
                    return Err(WorkerError::Pooled(error));
                }
                Err(error) if database::lacks_rights(&error) => format!(
                    "Waiting for the runtime rights: error={error}; run `order-worker migrate` with the owner in MIGRATE_DATABASE_URL and this role in DATABASE_URL"
                ),
                Err(error) if database::class(&error) != database::Class::Message => {
                    let way_out = database::tls_way_out(&error).map(|way_out| format!("; {way_out}"));
                    format!("Waiting for the database: error={error}{}", way_out.unwrap_or_default())
                }
                Err(error) => return Err(error.into()),
            };
            if awaited != said {
                tracing::warn!("{awaited}");
                said = awaited;
            }
            tokio::time::sleep(AWAIT).await;
        }
    }

    /// Writes down by what this worker judges. Waits for a database that is away.
    async fn register_terms(&self) {
        let worker = queue::worker_name();
        let register = async || {
            if self.mode.consumes_events() {
                let judged = payments::Terms::from(&self.config.worker.inbox.payments);
                terms::register(&self.pool, &judged, &worker).await?;
            }
            if self.mode.runs_jobs() {
                terms::register(&self.pool, &runs::terms(&self.config), &worker).await?;
            }
            Ok::<_, sqlx::Error>(())
        };
        let mut said = String::new();
        while let Err(error) = register().await {
            let awaited = format!("Waiting for the database to take this worker's settings: error={error}");
            if awaited != said {
                tracing::warn!("{awaited}");
                said = awaited;
            }
            tokio::time::sleep(AWAIT).await;
        }
    }
}

/// None when it was stopped first.
async fn stoppable<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    let work = pin!(work);
    tokio::select! {
        () = stop.cancelled() => None,
        done = work => Some(done),
    }
}
