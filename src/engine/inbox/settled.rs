//! The settlements of events, written in the transaction that has taken them: one statement for each kind.

use std::time::Duration;

use sqlx::PgConnection;

use super::Outcome;
use super::taken::Taken;
use crate::engine::queue::State;
use crate::platform::database::column;

/// An event that is settled.
#[derive(Debug)]
pub(super) struct Settled<'a> {
    pub(super) event: &'a Taken,
    pub(super) outcome: Outcome,
    pub(super) reason: Option<String>,
}

/// An event that is not settled.
#[derive(Debug)]
pub(super) struct Postponed<'a> {
    pub(super) event: &'a Taken,
    pub(super) state: State,
    pub(super) wait: Duration,
    /// Whether it failed: attempts count.
    pub(super) counted: bool,
    pub(super) reason: String,
}

/// Writes outcomes, and the end of the pending rows.
pub(super) async fn settle(tx: &mut PgConnection, events: &[Settled<'_>]) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    sqlx::query(include_str!("sql/settle.sql"))
        .bind(column(events, |settled| settled.event.id))
        .bind(column(events, |settled| settled.event.day))
        .bind(column(events, |settled| settled.outcome.as_str()))
        .bind(column(events, |settled| settled.reason.as_deref()))
        .execute(tx)
        .await?;
    Ok(())
}

/// Writes what is not settled.
pub(super) async fn postpone(connection: &mut PgConnection, events: &[Postponed<'_>]) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    sqlx::query(include_str!("sql/postpone.sql"))
        .bind(column(events, |postponed| postponed.event.id))
        .bind(column(events, |postponed| postponed.event.attempts))
        .bind(column(events, |postponed| postponed.state.as_str()))
        .bind(column(events, |postponed| postponed.wait.as_secs_f64()))
        .bind(column(events, |postponed| i32::from(postponed.counted)))
        .bind(column(events, |postponed| postponed.reason.as_str()))
        .execute(connection)
        .await?;
    Ok(())
}
