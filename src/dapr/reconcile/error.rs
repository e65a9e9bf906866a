//! Why a stream cannot be looked at.

use std::time::Duration;

/// The limit of a call of Redis.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// Redis.
    #[error("Redis: {0}")]
    Redis(redis::RedisError),
    /// Each node of a cluster has some of the streams.
    #[error(
        "Redis is a cluster, which cannot be looked at ({0}): worker.reconcile.enabled: false says that the jobs are to act by the clock all the same"
    )]
    Cluster(redis::RedisError),
    /// The component is none of Redis.
    #[error(
        "the component {0} is {1}, which is not Redis: worker.reconcile.enabled: false says that there is no stream to look at"
    )]
    Component(String, String),
    /// The database.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// A missing event could not be accepted.
    #[error("{0}")]
    Accept(#[from] crate::engine::inbox::AcceptError),
    /// There is no Redis to look at.
    #[error("data.redis.addr is empty: there is no stream to look at")]
    NoRedis,
    /// Redis does not answer.
    #[error("Redis does not answer in {LIMIT:?}")]
    Silent,
    /// The address cannot be used.
    #[error("{0}")]
    Configuration(String),
}

impl std::convert::From<redis::RedisError> for LookError {
    fn from(error: redis::RedisError) -> Self {
        match error.code() {
            Some("MOVED" | "ASK" | "CLUSTERDOWN" | "CROSSSLOT" | "TRYAGAIN") => Self::Cluster(error),
            _ => Self::Redis(error),
        }
    }
}

impl LookError {
    /// Whether it says something about the broker, and not about the database or about what was found.
    #[must_use]
    pub const fn is_of_the_broker(&self) -> bool {
        !matches!(self, Self::Database(_) | Self::Accept(_))
    }
}
