//! A span around what is asked of Postgres.

use std::future::Future;

use tracing::Instrument;

use super::PgPool;
use crate::platform::telemetry::spans;

/// Does `work` in a span of its own, named by `summary`: what is done to which table, as `SELECT orders`. A failure is marked with its
/// SQLSTATE, or as `away`.
///
/// # Errors
/// Those of `work`.
pub async fn traced<T>(
    pool: &PgPool,
    summary: &'static str,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let options = pool.connect_options();
    let database = options.get_database().unwrap_or_default();
    let span = spans::query(summary, database, options.get_host(), options.get_port());
    let done = work.instrument(span.clone()).await;
    if let Err(error) = &done {
        let code = error.as_database_error().and_then(|error| error.code());
        if let Some(code) = &code {
            span.record("db.response.status_code", code.as_ref());
        }
        spans::failed(&span, code.as_deref().unwrap_or("away"));
    }
    done
}
