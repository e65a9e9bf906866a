//! Whether the schema and this binary go together.

use std::time::Duration;

use sqlx::PgConnection;

use super::migrations::newest;
use crate::platform::database::PgPool;

/// The limit of a check on a connection of its own.
const LONGEST_LOOK: Duration = Duration::from_secs(3);

/// The fit of the schema to this binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// They go together.
    Fits,
    /// The schema has to be migrated first.
    Older(String),
    /// This binary is too old for it.
    Newer(String),
}

/// Compares the schema with this binary. A newer schema fits as long as it says so: migrations expand before they contract.
pub async fn schema_state(pool: &PgPool) -> Result<SchemaState, sqlx::Error> {
    state(&mut *pool.acquire().await?).await
}

/// The same in a session of its own, the first: its error says why there is none, also where a pooler stands that lends its backends
/// for one transaction.
pub async fn schema_state_directly(pool: &PgPool) -> Result<SchemaState, sqlx::Error> {
    let look = async { state(pool.first_session().await?.connection()).await };
    let late = |_| sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::TimedOut));
    tokio::time::timeout(LONGEST_LOOK, look).await.map_err(late)?
}

pub(super) async fn state(connection: &mut PgConnection) -> Result<SchemaState, sqlx::Error> {
    let (present,): (bool,) = sqlx::query_as(
        "select to_regclass('order_worker._sqlx_migrations') is not null and to_regclass('order_worker.schema_support') is not null",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !present {
        return Ok(SchemaState::Older(format!(
            "no schema yet, version {} is needed: run `order-worker migrate`",
            newest()
        )));
    }
    let (version, oldest): (Option<i64>, Option<i64>) = sqlx::query_as(
        "select (select max(version) from order_worker._sqlx_migrations where success),
                (select max(oldest_worker) from order_worker.schema_support)",
    )
    .fetch_one(connection)
    .await?;
    Ok(compare(version.unwrap_or(0), oldest.unwrap_or(0), newest()))
}

fn compare(version: i64, oldest_worker: i64, newest: i64) -> SchemaState {
    if version < newest {
        return SchemaState::Older(format!("schema version {version}, {newest} is needed: run `order-worker migrate`"));
    }
    if newest < oldest_worker {
        return SchemaState::Newer(format!(
            "schema version {version} wants a worker that knows version {oldest_worker}, this one knows {newest}: deploy a newer worker"
        ));
    }
    SchemaState::Fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_schema_fits_until_it_contracts() {
        assert_eq!(compare(6, 1, 6), SchemaState::Fits);
        assert_eq!(compare(7, 6, 6), SchemaState::Fits);
        assert!(matches!(compare(8, 7, 6), SchemaState::Newer(_)));
        assert!(matches!(compare(5, 1, 6), SchemaState::Older(_)));
    }
}
