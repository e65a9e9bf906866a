//! The conservation proof: what has to hold in the tables, whatever happened, and where it does not.
//!
//! Each check is one statement that returns the rows which break a rule, with a word on each. It is read in bounded memory: by the
//! day of the journals, from the database in a stream.

use chrono::NaiveDate;
use futures::TryStreamExt;
use serde::Serialize;

use crate::platform::database::PgPool;

/// A rule.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// The rule, in words.
    pub rule: &'static str,
    /// The command that mends what breaks it, or shows more.
    pub mend: &'static str,
    sql: &'static str,
}

/// A row that breaks a rule.
#[derive(Clone, Debug, Serialize)]
pub struct Violation {
    /// The rule's name.
    pub check: &'static str,
    /// The row.
    pub subject: String,
    /// A description of the violation.
    pub detail: String,
    /// The command that mends it, or shows more.
    pub mend: String,
}

/// The rules, each checked for one day of the journals.
pub const CHECKS: &[Check] = &[
    Check {
        name: "event_has_one_end",
        rule: "an accepted event is pending or has an outcome, and not both",
        mend: "order-worker inbox show {}",
        sql: include_str!("sql/proof_events.sql"),
    },
    Check {
        name: "applied_is_announced",
        rule: "an applied event has changed its order with an announcement under its own id",
        mend: "order-worker inbox show {}",
        sql: include_str!("sql/proof_applied.sql"),
    },
    Check {
        name: "message_has_one_end",
        rule: "an announcement or call is pending or has an outcome, and not both",
        mend: "order-worker outbox show {}",
        sql: include_str!("sql/proof_messages.sql"),
    },
    Check {
        name: "change_is_announced",
        rule: "a status change since the worker's first has exactly one announcement",
        mend: "order-worker order show {}",
        sql: include_str!("sql/proof_changes.sql"),
    },
    Check {
        name: "announced_is_changed",
        rule: "an announcement of a status has exactly one row of history",
        mend: "order-worker order show {}",
        sql: include_str!("sql/proof_announced.sql"),
    },
    Check {
        name: "message_has_a_cause",
        rule: "what an event or a job has caused names one that there is",
        mend: "order-worker outbox show {}",
        sql: include_str!("sql/proof_causes.sql"),
    },
    Check {
        name: "status_is_the_last_change",
        rule: "an order has the status of its last change, reached by legal moves",
        mend: "order-worker order show {}",
        sql: include_str!("sql/proof_statuses.sql"),
    },
    Check {
        name: "confirm_before_release",
        rule: "no reservation is confirmed after it was released",
        mend: "order-worker outbox show {}",
        sql: include_str!("sql/proof_calls.sql"),
    },
    Check {
        name: "item_is_answered",
        rule: "an item that waits for the warehouse has a call that is to be made",
        mend: "order-worker order show {}",
        sql: include_str!("sql/proof_items.sql"),
    },
    Check {
        name: "pending_has_a_body",
        rule: "a row to be done has its body in the journal",
        mend: "order-worker dead skip --id {}",
        sql: include_str!("sql/proof_pending.sql"),
    },
];

/// The days of the journals from `since` on, the oldest first.
pub async fn days(pool: &PgPool, since: Option<NaiveDate>) -> Result<Vec<NaiveDate>, sqlx::Error> {
    sqlx::query_scalar(include_str!("sql/proof_days.sql")).bind(since).fetch_all(pool).await
}

/// Looks for rows of `day` that break the rule; `found` gets them one by one.
pub async fn check(
    pool: &PgPool,
    check: &Check,
    day: NaiveDate,
    mut found: impl FnMut(Violation),
) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::query_as::<_, (String, String)>(check.sql).bind(day).fetch(pool);
    while let Some((subject, detail)) = rows.try_next().await? {
        let mend = check.mend.replace("{}", &subject);
        found(Violation { check: check.name, subject, detail, mend });
    }
    Ok(())
}

/// Writes down what a proof of so many days from `since` on has found, for the gauges.
///
/// # Errors
///
/// The database's, also when the role may not write it.
pub async fn record(pool: &PgPool, since: Option<NaiveDate>, days: usize, violations: u64) -> Result<(), sqlx::Error> {
    sqlx::query("insert into order_worker.proofs (since, days, violations) values ($1, $2, $3)")
        .bind(since)
        .bind(i32::try_from(days).unwrap_or(i32::MAX))
        .bind(i64::try_from(violations).unwrap_or(i64::MAX))
        .execute(pool)
        .await?;
    Ok(())
}
