//! A transaction that was not applied, and whose fault it is.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use crate::database::{self, Class};

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

    /// Whether the environment is to blame: nothing is counted.
    #[must_use]
    pub fn is_environment(&self) -> bool {
        matches!(self, Self::Database(error) if database::class(error) == Class::Environment)
    }
}

/// Whether an error may be that of single rows. Not when there was no answer, nor by SQLSTATE: 08 connection, 25006 read-only,
/// 28 and 3D no such user or database, 53 resources, 57P shutdown, 58 the server's system.
#[must_use]
pub fn is_splittable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            !["08", "25006", "28", "3D", "53", "57P", "58"].iter().any(|class| code.starts_with(class))
        }
        other => database::class(other) == Class::Message,
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
