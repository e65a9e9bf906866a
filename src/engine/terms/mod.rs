//! The settings by which workers act, for commands that act without being a worker.
//!
//! A worker acts by its own configuration. At its start it registers the settings that decide something (`order_worker.worker_terms`).
//! The worker that started last overwrites the others, so that after a rollout the new settings are there. A command that rehearses a
//! run, or makes it where no worker is alive, takes them from there: the configuration of its own shell may be another one. A kind that
//! was never registered means that no such worker has ever run on this database.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::PgPool;
use sqlx::types::Json;

/// Settings that decide something.
///
/// Versions run side by side: a field that comes later has a default, and one that is not known is passed over.
pub trait Terms: Serialize + DeserializeOwned + Send + Sync + Unpin + 'static {
    /// `worker_terms.kind`.
    const KIND: &'static str;
}

/// What a worker has registered.
#[derive(Clone, Debug)]
pub struct Registered<T> {
    /// Its settings.
    pub terms: T,
    /// Its name.
    pub worker: String,
    /// Its version.
    pub version: String,
    /// When it started, by the database's clock.
    pub registered_at: DateTime<Utc>,
}

/// Writes down by what a worker judges, over what was registered before.
///
/// # Errors
///
/// The database's.
pub async fn register<T: Terms>(pool: &PgPool, terms: &T, worker: &str) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("sql/register.sql"))
        .bind(T::KIND)
        .bind(Json(terms))
        .bind(worker)
        .bind(env!("CARGO_PKG_VERSION"))
        .execute(pool)
        .await?;
    Ok(())
}

/// What the last started worker of this kind has registered; none: there was never one.
///
/// # Errors
///
/// The database's; also when another version has written what this one cannot read.
pub async fn registered<T: Terms>(pool: &PgPool) -> Result<Option<Registered<T>>, sqlx::Error> {
    let row: Option<(Json<T>, String, String, DateTime<Utc>)> =
        sqlx::query_as(include_str!("sql/registered.sql")).bind(T::KIND).fetch_optional(pool).await?;
    Ok(row.map(|(Json(terms), worker, version, registered_at)| Registered { terms, worker, version, registered_at }))
}
