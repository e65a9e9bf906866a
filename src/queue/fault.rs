//! A transaction that was not applied, and whose fault it is.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use crate::database::{self, Class, PgPool};

/// Why a transaction was not applied.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The database refused it.
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    /// A bug.
    #[error("panicked: {0}")]
    Panicked(String),
}

impl Fault {
    /// Whether smaller parts of the work may get through: its rows may be to blame, and not the way to the database.
    #[must_use]
    pub fn is_splittable(&self) -> bool {
        match self {
            Self::Database(error) => is_splittable(error),
            Self::Panicked(_) => true,
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

/// Whether an error may be that of single rows: an answer about them, or one that another writer or a rule for single rows can cause, by
/// SQLSTATE: 40 deadlock, serialization, 42501 rights (row security), 55 lock_timeout and the like, 57014 statement_timeout.
#[must_use]
pub fn is_splittable(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    let of_a_row = || ["40", "42501", "55", "57014"].iter().any(|class| code.starts_with(class));
    match database::class(error) {
        Class::Message => true,
        Class::Environment => of_a_row(),
        Class::Session => false,
    }
}

/// Runs `work`, whose transaction is dropped with it, and makes an error of a panic: one bad row ends no worker.
///
/// # Errors
///
/// [`Fault`].
pub async fn attempt<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Fault> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => Ok(done?),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
            Err(Fault::Panicked(words.to_owned()))
        }
    }
}
