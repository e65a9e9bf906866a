//! Whether the parts that the worker needs are there.
//!
//! One prober ([`Probe`]) looks every two seconds; everybody else reads what it saw, so that a
//! question about health never waits for a part that hangs. `/readyz` reads it for Kubernetes, the
//! app health check for daprd.

mod connections;
mod probe;

use tokio::sync::watch;

pub use probe::Probe;

/// What the last look at a part saw.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Condition {
    /// Whether it can be worked with.
    pub ok: bool,
    /// What was seen, in words; without secrets.
    pub detail: String,
}

impl Condition {
    /// It can be worked with.
    #[must_use]
    pub fn good(detail: impl Into<String>) -> Self {
        Self { ok: true, detail: detail.into() }
    }

    /// It cannot be worked with, because of `detail`.
    #[must_use]
    pub fn bad(detail: impl Into<String>) -> Self {
        Self { ok: false, detail: detail.into() }
    }
}

/// A look that says what it saw, or what went wrong.
impl From<Result<String, String>> for Condition {
    fn from(seen: Result<String, String>) -> Self {
        match seen {
            Ok(detail) => Self::good(detail),
            Err(detail) => Self::bad(detail),
        }
    }
}

/// The last seen condition of every part; clones see the same.
#[derive(Debug, Clone)]
pub struct Health {
    /// The worker itself: it takes events and drains its queues.
    pub worker: watch::Receiver<Condition>,
    /// Postgres answers.
    pub database: watch::Receiver<Condition>,
    /// The tables are those of this version.
    pub schema: watch::Receiver<Condition>,
    /// The Dapr sidecar answers.
    pub sidecar: watch::Receiver<Condition>,
    /// Redis answers. It is Dapr's, so the worker is ready without it.
    pub redis: watch::Receiver<Condition>,
}

/// The writing side of [`Health`].
#[derive(Debug)]
pub struct Reporter {
    /// The worker itself: its own to tell.
    pub worker: watch::Sender<Condition>,
    /// Postgres answers.
    pub database: watch::Sender<Condition>,
    /// The tables are those of this version.
    pub schema: watch::Sender<Condition>,
    /// The Dapr sidecar answers.
    pub sidecar: watch::Sender<Condition>,
    /// Redis answers.
    pub redis: watch::Sender<Condition>,
}

impl Health {
    /// Both sides. Until somebody has looked, nothing is ok.
    #[must_use]
    pub fn unknown() -> (Reporter, Self) {
        let part = || watch::channel(Condition::bad("not looked at yet"));
        let (worker, database, schema, sidecar, redis) = (part(), part(), part(), part(), part());
        let reporter =
            Reporter { worker: worker.0, database: database.0, schema: schema.0, sidecar: sidecar.0, redis: redis.0 };
        let health =
            Self { worker: worker.1, database: database.1, schema: schema.1, sidecar: sidecar.1, redis: redis.1 };
        (reporter, health)
    }
}
