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

use backon::Retryable;
use tokio_util::sync::CancellationToken;

pub use mode::Mode;

use crate::app::config::{Config, Layers};
use crate::app::schema::{SchemaState, schema_state_directly};
use crate::app::{Metrics, runs};
use crate::engine::{queue, terms};
use crate::platform::backoff;
use crate::platform::connection::InvalidAddress;
use crate::platform::database::{self, POOLED, UnusableSession};
use crate::platform::health::Condition;
use crate::platform::signals::stop_on_signal;
use crate::platform::telemetry::{self, LogOnce, TelemetryError};
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
    Address(#[from] InvalidAddress),
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
/// [`WorkerError`]: never for an unreachable part, which is waited for.
pub async fn run(config: Config, layers: Layers, mode: Mode) -> Result<(), WorkerError> {
    let mut telemetry = telemetry::init(&config.worker.telemetry)?;
    let metrics = Metrics::over(telemetry.metrics()?);
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
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

/// The end of a worker.
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
        let look = || async {
            match schema_state_directly(&self.pool).await {
                Ok(SchemaState::Fits) => Ok(()),
                Ok(SchemaState::Newer(why)) => Err(NotReady::Failed(WorkerError::Schema(why))),
                Ok(SchemaState::Older(why)) => Err(NotReady::Waiting(format!("Waiting for the schema: {why}"))),
                Err(error) => Err(error.into()),
            }
        };
        let mut trouble = LogOnce::default();
        let ready = look.retry(backoff::constant(AWAIT)).when(|error| matches!(error, NotReady::Waiting(_)));
        let ready = ready.notify(|error, _| error.log(&mut trouble)).await;
        match ready {
            Err(NotReady::Failed(error)) => Err(error),
            // Waiting has no end.
            Ok(()) | Err(NotReady::Waiting(_)) => Ok(()),
        }
    }

    /// Writes down by what this worker judges. Waits for a database that does not answer.
    async fn register_terms(&self) {
        let worker = queue::worker_name();
        let register = || async {
            if self.mode.consumes_events() {
                let judged = payments::Terms::from(&self.config.worker.inbox.payments);
                terms::register(&self.pool, &judged, &worker).await?;
            }
            if self.mode.runs_jobs() {
                terms::register(&self.pool, &runs::terms(&self.config), &worker).await?;
            }
            Ok::<_, sqlx::Error>(())
        };
        let mut trouble = LogOnce::default();
        let waiting = |error: &sqlx::Error, _| {
            let awaited = format!("Waiting for the database to take this worker's settings: error={error}");
            NotReady::Waiting(awaited).log(&mut trouble);
        };
        let _ = register.retry(backoff::constant(AWAIT)).notify(waiting).await;
    }
}

/// Why a worker cannot begin yet.
enum NotReady {
    /// It waits for somebody else, and says so.
    Waiting(String),
    /// Waiting would not help.
    Failed(WorkerError),
}

impl NotReady {
    fn log(&self, trouble: &mut LogOnce<String>) {
        if let Self::Waiting(awaited) = self
            && trouble.is_new(awaited.clone())
        {
            tracing::warn!("{awaited}");
        }
    }
}

impl From<sqlx::Error> for NotReady {
    fn from(error: sqlx::Error) -> Self {
        if matches!(database::unusable_session(&error), Some(UnusableSession::Pooled(_))) {
            Self::Failed(WorkerError::Pooled(error))
        } else if database::lacks_rights(&error) {
            Self::Waiting(format!(
                "Waiting for the runtime rights: error={error}; run `order-worker migrate` with the owner in MIGRATE_DATABASE_URL and this role in DATABASE_URL"
            ))
        } else if database::class(&error) == database::Class::Message {
            Self::Failed(error.into())
        } else {
            let hint = database::tls_hint(&error).map(|hint| format!("; {hint}"));
            Self::Waiting(format!("Waiting for the database: error={error}{}", hint.unwrap_or_default()))
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
