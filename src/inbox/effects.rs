//! What a transaction over the inbox is about to write, gathered before the first write: one statement a kind.

use std::time::Duration;

use sqlx::PgConnection;

use super::apply::Taken;
use crate::failpoint;
use crate::orders::{Decision, Payment};
use crate::telemetry::labels::Outcome;

/// An event with what was decided about it.
#[derive(Debug)]
pub(super) struct Judged<'a> {
    pub(super) event: &'a Taken,
    pub(super) payment: &'a Payment,
    pub(super) decision: Decision,
}

/// An event that is not settled.
#[derive(Debug)]
pub(super) struct Postponed<'a> {
    pub(super) event: &'a Taken,
    /// `waiting`, `held` or `dead`.
    pub(super) state: &'static str,
    pub(super) wait: Duration,
    /// Whether it failed: attempts count.
    pub(super) counted: bool,
    pub(super) reason: String,
}

/// What a transaction is about to write.
#[derive(Debug, Default)]
pub(super) struct Effects<'a> {
    pub(super) judged: Vec<Judged<'a>>,
    pub(super) postponed: Vec<Postponed<'a>>,
}

impl Judged<'_> {
    /// How the event ended; none when an operator is to decide.
    pub(super) const fn outcome(&self) -> Option<Outcome> {
        match self.decision {
            Decision::Apply(_) => Some(Outcome::Applied),
            Decision::Superseded(_) => Some(Outcome::Superseded),
            Decision::Rejected(..) => Some(Outcome::Rejected),
            Decision::Held(..) => None,
        }
    }
}

impl<'a> Effects<'a> {
    /// Takes down what was decided about an event.
    pub(super) fn judge(&mut self, event: &'a Taken, payment: &'a Payment, decision: Decision) {
        if let Decision::Held(reason, _) = &decision {
            self.postpone(event, "held", Duration::ZERO, reason.clone());
        }
        self.judged.push(Judged { event, payment, decision });
    }

    /// The event is not settled, through no failure of its own.
    pub(super) fn postpone(&mut self, event: &'a Taken, state: &'static str, wait: Duration, reason: String) {
        self.postponed.push(Postponed { event, state, wait, counted: false, reason });
    }

    /// Writes everything, in the transaction that holds the locks.
    pub(super) async fn write(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.change_orders(tx).await?;
        self.call_warehouse(tx).await?;
        self.settle(tx).await?;
        postpone(tx, &self.postponed).await
    }

    async fn change_orders(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        let changes: Vec<_> =
            self.judged.iter().filter_map(|judged| Some((judged, judged.decision.change()?))).collect();
        if changes.is_empty() {
            return Ok(());
        }
        sqlx::query(include_str!("sql/change.sql"))
            .bind(column(&changes, |(judged, _)| judged.payment.order_id.as_str()))
            .bind(column(&changes, |(_, change)| change.status.as_str()))
            .bind(column(&changes, |(_, change)| change.reason.as_str()))
            .bind(column(&changes, |(_, change)| change.notes.as_deref()))
            .bind(column(&changes, |(judged, _)| judged.event.cause.as_str()))
            .bind(column(&changes, |(judged, _)| judged.event.traceparent.as_deref()))
            .bind(column(&changes, |(judged, _)| judged.event.received_at))
            .execute(&mut *tx)
            .await?;
        failpoint::reach("apply-after-change");
        Ok(())
    }

    async fn call_warehouse(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        let changes = self.judged.iter().filter_map(|judged| Some((judged, judged.decision.change()?)));
        let calls: Vec<_> =
            changes.flat_map(|(judged, change)| change.calls.iter().map(move |call| (judged, call))).collect();
        if calls.is_empty() {
            return Ok(());
        }
        sqlx::query(include_str!("sql/reserve.sql"))
            .bind(column(&calls, |(_, call)| call.item_id))
            .bind(column(&calls, |(judged, _)| judged.payment.order_id.as_str()))
            .bind(column(&calls, |(_, call)| call.reservation_id.as_str()))
            .bind(column(&calls, |(_, call)| call.action.method()))
            .bind(column(&calls, |(_, call)| call.action.intent()))
            .bind(column(&calls, |(_, call)| call.reason.as_str()))
            .bind(column(&calls, |(judged, _)| judged.event.cause.as_str()))
            .bind(column(&calls, |(judged, _)| judged.event.traceparent.as_deref()))
            .bind(column(&calls, |(judged, _)| judged.event.received_at))
            .execute(tx)
            .await?;
        Ok(())
    }

    async fn settle(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.judged.is_empty() {
            return Ok(());
        }
        let settled: Vec<_> = self.judged.iter().filter_map(|judged| Some((judged, judged.outcome()?))).collect();
        let with_incidents = self.judged.iter();
        let incidents: Vec<_> = with_incidents
            .flat_map(|judged| judged.decision.incidents().iter().map(move |incident| (judged, incident)))
            .collect();
        sqlx::query(include_str!("sql/settle.sql"))
            .bind(column(&settled, |(judged, _)| judged.payment.order_id.as_str()))
            .bind(column(&settled, |(judged, _)| judged.payment.payment_id.as_str()))
            .bind(column(&settled, |(judged, _)| judged.payment.kind.as_str()))
            .bind(column(&settled, |(judged, _)| judged.event.cause.as_str()))
            .bind(column(&settled, |(judged, _)| judged.event.id))
            .bind(column(&settled, |(judged, _)| judged.event.day))
            .bind(column(&settled, |(_, outcome)| outcome.as_str()))
            .bind(column(&settled, |(judged, _)| judged.decision.reason()))
            .bind(column(&incidents, |(_, incident)| incident.kind.as_str()))
            .bind(column(&incidents, |(judged, _)| judged.payment.order_id.as_str()))
            .bind(column(&incidents, |(judged, _)| judged.event.cause.as_str()))
            .bind(column(&incidents, |(_, incident)| incident.detail.as_str()))
            .execute(tx)
            .await?;
        Ok(())
    }
}

/// Writes what is not settled.
pub(super) async fn postpone(connection: &mut PgConnection, events: &[Postponed<'_>]) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    sqlx::query(include_str!("sql/postpone.sql"))
        .bind(column(events, |postponed| postponed.event.id))
        .bind(column(events, |postponed| postponed.event.attempts))
        .bind(column(events, |postponed| postponed.state))
        .bind(column(events, |postponed| postponed.wait.as_secs_f64()))
        .bind(column(events, |postponed| i32::from(postponed.counted)))
        .bind(column(events, |postponed| postponed.reason.as_str()))
        .execute(connection)
        .await?;
    Ok(())
}

/// One column of rows, as Postgres' unnest takes it.
fn column<'r, R, V>(rows: &'r [R], value: impl Fn(&'r R) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}
