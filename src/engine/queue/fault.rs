//! A transaction that failed, and the cause: its rows, the environment, or a bug.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::platform::database::{self, Class, PgPool};

/// Why a transaction was not applied.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The database refused it.
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    /// A bug.
    #[error("panicked: {0}")]
    Panicked(String),
    /// The request cannot be read: another version has written it, or its kind is unknown.
    #[error("{0}")]
    Unknown(String),
}

impl Fault {
    /// Whether smaller parts of the work may get through: its rows may be to blame, and not the way to the database.
    #[must_use]
    pub fn is_splittable(&self) -> bool {
        match self {
            Self::Database(error) => is_splittable(error),
            Self::Panicked(_) => true,
            Self::Unknown(_) => false,
        }
    }

    /// Whether the sessions were to blame, which are then thrown away: the same work is worth another try at once.
    #[must_use]
    pub fn renews(&self, pool: &PgPool) -> bool {
        matches!(self, Self::Database(error) if pool.renewed_after(error))
    }

    /// Whether the environment is to blame, or once more the session: nothing is counted.
    #[must_use]
    pub fn is_environment(&self) -> bool {
        matches!(self, Self::Database(error) if database::class(error) != Class::Message)
    }
}

/// Whether an error may be that of single rows: an answer of a session that goes on, whatever it says. A row's own trigger can raise any
/// SQLSTATE, those of a connection that broke among them; what ends the session (FATAL) or is no answer is nobody's row.
#[must_use]
pub fn is_splittable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(answer) => answer
            .try_downcast_ref::<PgDatabaseError>()
            .is_none_or(|answer| !matches!(answer.severity(), PgSeverity::Fatal | PgSeverity::Panic)),
        other => database::class(other) == Class::Message,
    }
}

/// Runs `work`, whose transaction is dropped with it, and makes an error of a panic: one bad row ends no worker.
///
/// # Errors
///
/// [`Fault`].
pub async fn attempt<T, E: Into<Fault>>(work: impl Future<Output = Result<T, E>>) -> Result<T, Fault> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => done.map_err(Into::into),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
            Err(Fault::Panicked(words.to_owned()))
        }
    }
}
