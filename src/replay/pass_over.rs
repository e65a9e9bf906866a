//! An event that fails a replay alone.

use sqlx::types::Json;

use super::{Request, Tally};
use crate::cron::Run;
use crate::database::PgPool;

/// Counts the next event of the run as failed and goes on behind it; ends the run when that is one too many. Returns whether it has
/// ended.
///
/// # Errors
///
/// The database's.
pub(crate) async fn pass_over(
    pool: &PgPool,
    run: &Run,
    request: &Request,
    tally: &Tally,
    error: &str,
) -> Result<bool, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let Some((day, id, event_id)) = super::batch::next(&mut tx, request, tally, &run.cursor).await? else {
        tx.rollback().await?;
        return Ok(false);
    };
    let counted = Tally { seen: tally.seen + 1, failed: tally.failed + 1, ..tally.clone() };
    let stopped = request.most_failures.filter(|most| counted.failed > *most);
    let stopped = stopped
        .map(|most| format!("{} events failed, more than {most}; the last: {event_id}: {error}", counted.failed));
    tracing::error!(run = run.id, event_id, "Event failed in a replay and is passed over: error={error}");
    sqlx::query(include_str!("sql/pass_over.sql"))
        .bind(run.id)
        .bind(run.attempts)
        .bind(day.and_hms_opt(0, 0, 0).map(|midnight| midnight.and_utc()))
        .bind(id.to_string())
        .bind(Json(&counted))
        .bind(&stopped)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(stopped.is_some())
}
