//! Whether the parts that the worker needs are there, as they were seen last.

use tokio::sync::watch;

use crate::platform::health::Condition;

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
