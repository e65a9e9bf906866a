//! Decisions about events that wait for an operator: held ones and quarantined ones alike.

use std::io::Write;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;
use sqlx::PgConnection;

use super::exit::Stop;
use super::operator::Operator;
use super::shown::{Format, Shown};
use super::{output, roles, told_since};
use crate::operations::events::{self, Waits};
use crate::operations::since::{self, Since};
use crate::platform::database::PgPool;

/// Which events, and why.
#[derive(Debug, Args)]
pub struct Decide {
    /// Their numbers in the inbox
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<i64>,

    /// Why: stands in the audit log
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub reason: String,

    /// Say what would change and what has happened to the order since, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Who.
    #[command(flatten)]
    pub operator: Operator,

    /// How the result is shown.
    #[command(flatten)]
    pub shown: Shown,
}

/// They are handled.
pub(super) async fn approve(pool: &PgPool, waits: Waits, decide: &Decide) -> Result<(), Stop> {
    let actor = decide.operator.person(decide.dry_run)?;
    let mut tx = pool.begin().await.map_err(roles::refuse)?;
    let since = since(&mut tx, decide).await?;
    let ids = events::approve(&mut tx, waits, &decide.ids, &decide.reason, &actor).await.map_err(roles::refuse)?;
    finish(tx, "is handled", &ids, &since, decide).await
}

/// They change nothing.
pub(super) async fn reject(pool: &PgPool, waits: Waits, decide: &Decide) -> Result<(), Stop> {
    let actor = decide.operator.person(decide.dry_run)?;
    let mut tx = pool.begin().await.map_err(roles::refuse)?;
    let since = since(&mut tx, decide).await?;
    let ids = events::reject(&mut tx, waits, &decide.ids, &decide.reason, &actor).await.map_err(roles::refuse)?;
    finish(tx, "is settled as rejected", &ids, &since, decide).await
}

/// What a rehearsal tells besides.
async fn since(tx: &mut PgConnection, decide: &Decide) -> Result<Vec<Since>, Stop> {
    if !decide.dry_run {
        return Ok(Vec::new());
    }
    since::of(tx, &decide.ids).await.map_err(roles::refuse)
}

async fn finish(
    tx: sqlx::PgTransaction<'_>,
    done: &str,
    ids: &[i64],
    since: &[Since],
    decide: &Decide,
) -> Result<(), Stop> {
    if decide.dry_run { tx.rollback().await } else { tx.commit().await }.map_err(roles::refuse)?;
    let others: Vec<i64> = decide.ids.iter().copied().filter(|id| !ids.contains(id)).collect();
    match decide.shown.output {
        Format::Json => output::json(&json!({
            "ids": ids, "unchanged": others, "dry_run": decide.dry_run, "since": told_since::by_row(ids, since),
        })),
        Format::Table => {
            let would = if decide.dry_run { " (dry run: nothing was changed)" } else { "" };
            output::write(|out| {
                ids.iter().try_for_each(|id| writeln!(out, "event {id} {done}{would}"))?;
                others.iter().try_for_each(|id| writeln!(out, "event {id} does not wait for this: it is left as it is"))
            })?;
            told_since::show(since)
        }
    }
}
