//! Why a migration did not happen.

use crate::platform::database;

/// A migration that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The URL or the database.
    #[error("the database")]
    Database(#[from] sqlx::Error),
    /// A migration.
    #[error("a migration")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// Shared tables that are not the ones of the contract.
    #[error("the shared tables differ from the contract in migrations/README.md; nothing was changed: {}", .0.join("; "))]
    Contract(Vec<String>),
    /// The schema is too new for this binary.
    #[error("{0}")]
    Newer(String),
    /// A name that cannot be a role's.
    #[error("DATABASE_URL names no user, so that nobody can be granted the runtime rights")]
    NoUser,
}

impl MigrateError {
    /// The way out; empty where the message says it.
    #[must_use]
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::Database(error) => {
                if let Some(hint) = database::tls_hint(error).or_else(|| database::hint(error).map(str::to_owned)) {
                    return hint;
                }
                "see that Postgres is there, and what MIGRATE_DATABASE_URL (or else DATABASE_URL) names; then run it again"
            }
            Self::Migration(_) => "a migration that failed has left nothing behind: mend the cause, then run it again",
            Self::Contract(_) => "bring these columns to the contract, or rename the tables; then run it again",
            Self::NoUser => "name the worker's role in DATABASE_URL",
            Self::Newer(_) => "",
        };
        hint.to_owned()
    }
}
