//! Tomorrow's partitions, and the end of the old ones and of old runs. Any replica may do it, any number of times.

use std::time::Duration;

use crate::engine::inbox::settings::Keep;
use crate::engine::runs::ledger;
use crate::platform::database::PgPool;

const EVERY: Duration = Duration::from_secs(3600);
/// Keys deleted by one statement.
const KEYS: i64 = 10_000;

/// Makes partitions ahead and drops what is older than the settings, every hour, for as long as it is polled.
pub async fn maintain(pool: &PgPool, settings: &Keep) {
    loop {
        if let Err(error) = once(pool, settings).await {
            tracing::warn!("Partitions not maintained, trying again in an hour: error={error}");
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn once(pool: &PgPool, settings: &Keep) -> Result<(), sqlx::Error> {
    let (missed,): (i32,) = sqlx::query_as("select order_worker.ensure_partitions(7)").fetch_one(pool).await?;
    if missed > 0 {
        tracing::warn!(missed, "Partitions could not be made: their rows go to the default partition");
    }
    loop {
        // A few at a time, each time in a transaction of its own: what it locks has a bound.
        let dropped: Vec<String> =
            sqlx::query_scalar("select order_worker.drop_expired_partitions($1 * interval '1 second')")
                .bind(settings.keep_bodies.as_secs_f64())
                .fetch_all(pool)
                .await?;
        if dropped.is_empty() {
            break;
        }
        tracing::info!(partitions = dropped.join(", "), "Old partitions dropped");
    }
    let mut expired = 0;
    loop {
        let (keys,): (i64,) = sqlx::query_as("select order_worker.forget_keys($1 * interval '1 second', $2)")
            .bind(settings.keep_keys.as_secs_f64())
            .bind(KEYS)
            .fetch_one(pool)
            .await?;
        expired += keys;
        if keys < KEYS {
            break;
        }
    }
    if expired > 0 {
        tracing::info!(keys = expired, "Old keys forgotten");
    }
    ledger::forget(pool, settings.keep_keys).await?;
    Ok(())
}
