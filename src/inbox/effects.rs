//! What a transaction over the inbox is about to write, gathered before the first write: one statement a kind.

use std::time::Duration;

use sqlx::PgConnection;

use super::taken::Taken;
use crate::orders::{self, Decided, Decision, Payment, column};
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
            Decision::Superseded(..) => Some(Outcome::Superseded),
            Decision::Rejected(..) => Some(Outcome::Rejected),
            Decision::Held(..) => None,
        }
    }

    fn decided(&self) -> Option<Decided<'_>> {
        Some(Decided {
            order_id: &self.payment.order_id,
            change: self.decision.change()?,
            cause: &self.event.cause,
            traceparent: self.event.traceparent.as_deref(),
            received_at: Some(self.event.received_at),
        })
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
        self.change(tx).await?;
        self.settle(tx).await?;
        postpone(tx, &self.postponed).await
    }

    async fn change(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        let decided: Vec<_> = self.judged.iter().filter_map(Judged::decided).collect();
        orders::write(tx, &decided).await
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
            .bind(column(&settled, |(judged, _)| judged.payment.amount))
            .bind(column(&settled, |(judged, _)| judged.payment.currency.as_str()))
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
