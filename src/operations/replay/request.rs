//! The request of a replay, and its result.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::engine::audit;
use crate::engine::runs::{Cursor, RunState};
use crate::operations::events::Selection;
use crate::operations::{Error, jobs};
use crate::platform::database::PgPool;

/// A replay's name in the ledger.
pub const REPLAY: &str = "inbox_replay";

/// A replay's request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The first moment at which they were received.
    pub since: DateTime<Utc>,
    /// The first moment behind: no event that comes later is replayed.
    pub until: DateTime<Utc>,
    /// About this order.
    pub order: Option<String>,
    /// Telling of this payment.
    pub payment: Option<String>,
    /// With this CloudEvent id.
    pub event: Option<String>,
    /// From this topic.
    pub topic: Option<String>,
    /// With this outcome so far.
    pub outcome: Option<String>,
    /// With these words in the reason.
    pub reason: Option<String>,
    /// Whether their announcements are sent again.
    pub announce: bool,
    /// Whether events are judged again that a person has decided about.
    #[serde(default)]
    pub include_decided: bool,
    /// The most events in a second.
    pub rate: Option<u32>,
    /// The share that goes first, of 10,000.
    pub canary: Option<u16>,
    /// More failures than this stop it.
    pub most_failures: Option<u64>,
}

/// A text that is no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a share is a percentage from 0.01% to 99%, as 1%")]
pub struct NoShare;

/// A share, of 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u16);

impl Share {
    /// How many of 10,000.
    #[must_use]
    pub const fn of_10_000(self) -> u16 {
        self.0
    }
}

impl FromStr for Share {
    type Err = NoShare;

    fn from_str(text: &str) -> Result<Self, NoShare> {
        let percent: Decimal = text.strip_suffix('%').ok_or(NoShare)?.trim().parse().map_err(|_| NoShare)?;
        let of_10_000 = u16::try_from((percent * Decimal::ONE_HUNDRED).round()).map_err(|_| NoShare)?;
        if (1..=9_900).contains(&of_10_000) { Ok(Self(of_10_000)) } else { Err(NoShare) }
    }
}

/// Which share of the selection is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The share that goes first.
    Canary,
    /// What is left, or all of it.
    #[default]
    Rest,
}

/// The counts of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Which share is under way.
    pub phase: Phase,
    /// Events looked at.
    pub seen: u64,
    /// Those of them whose effect stands, or of which nothing is left to change.
    pub unchanged: u64,
    /// Those handed to the inbox again.
    pub again: u64,
    /// Those with another outcome by today's code.
    pub changed: u64,
    /// Those that a person has decided about: left alone, unless the request says otherwise.
    #[serde(default)]
    pub decided: u64,
    /// Announcements that are sent again.
    pub announced: u64,
    /// Those that failed and were passed over.
    pub failed: u64,
}

impl Request {
    /// Every selected event that came before `now`. Without a beginning, from where bodies are kept, for `keep_bodies`.
    #[must_use]
    pub fn of(selection: Selection, now: DateTime<Utc>, keep_bodies: Duration) -> Self {
        let Selection { window, order, payment, event, topic, outcome, reason } = selection;
        let kept = TimeDelta::from_std(keep_bodies).unwrap_or_default() + TimeDelta::days(1);
        let kept = now.checked_sub_signed(kept).unwrap_or(DateTime::UNIX_EPOCH);
        Self {
            since: window.since.unwrap_or(kept),
            until: window.until.unwrap_or(now).min(now),
            order,
            payment,
            event,
            topic,
            outcome,
            reason,
            announce: false,
            include_decided: false,
            rate: None,
            canary: None,
            most_failures: None,
        }
    }

    /// The counts at the beginning of a replay.
    #[must_use]
    pub fn begin(&self) -> Tally {
        Tally { phase: if self.canary.is_some() { Phase::Canary } else { Phase::Rest }, ..Tally::default() }
    }

    /// The share of 10,000 that belongs to a phase.
    #[must_use]
    pub fn share(&self, phase: Phase) -> (i32, i32) {
        let canary = i32::from(self.canary.unwrap_or(0));
        match phase {
            Phase::Canary => (0, canary),
            Phase::Rest => (canary, 10_000),
        }
    }
}

/// A replay, for people.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Replay {
    /// Its number: `cron_runs.id`.
    pub id: i64,
    /// When it was asked for.
    pub asked_at: DateTime<Utc>,
    /// When its first batch began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// The request.
    pub request: Value,
    /// The result so far.
    pub result: Option<Json<Tally>>,
    /// Its state.
    pub outcome: RunState,
    /// Why it failed.
    pub error: Option<String>,
}

/// Writes a replay down, and that somebody has asked for it; workers make it from then on. Returns its number.
///
/// # Errors
///
/// [`Error::Refused`] when no event is selected.
pub async fn ask(tx: &mut PgConnection, request: &Request, reason: Option<&str>, actor: &str) -> Result<i64, Error> {
    let all = Request { canary: None, ..request.clone() };
    if super::batch::next(tx, &all, &all.begin(), &Cursor::default()).await?.is_none() {
        return Err(Error::refused("no event is selected", "order-worker inbox list shows which there are"));
    }
    let run = write(tx, request).await?;
    let detail = json!({ "run": run, "request": request, "reason": reason });
    audit::record(tx, actor, "inbox replay", &format!("replay {run}"), &detail).await?;
    Ok(run)
}

/// Writes a replay down. Returns its number.
pub(super) async fn write(tx: &mut PgConnection, request: &Request) -> Result<i64, Error> {
    Ok(jobs::ask(tx, REPLAY, Some(json!(request))).await?.0)
}

/// The last `limit` replays, the newest first; or the one with this number.
pub async fn runs(pool: &PgPool, id: Option<i64>, limit: u32) -> Result<Vec<Replay>, sqlx::Error> {
    sqlx::query_as(include_str!("sql/runs.sql")).bind(id).bind(i64::from(limit)).fetch_all(pool).await
}

/// Of the events that a replay has handed to the inbox: how many are under way, and how many are given up or held again.
pub(crate) async fn canary(tx: &mut PgConnection, run: i64) -> Result<(u64, u64), sqlx::Error> {
    let (open, failed): (i64, i64) = sqlx::query_as(include_str!("sql/canary.sql")).bind(run).fetch_one(tx).await?;
    Ok((open.unsigned_abs(), failed.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage() {
        assert_eq!("1%".parse(), Ok(Share(100)));
        assert_eq!("0.5 %".parse(), Ok(Share(50)));
        for wrong in ["1", "0%", "100%", "-1%", "some%", "0.001%"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
    }
}
