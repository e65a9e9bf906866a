//! Decisions about events that wait for an operator: held ones and quarantined ones alike.

use std::io::Write;

use clap::Args;
use serde_json::json;

use super::exit::{Exit, Stop};
use super::shown::{Format, Shown};
use super::{output, roles};
use crate::audit;
use crate::database::PgPool;
use crate::operations::events::{self, Waits};

/// Which events, and why.
#[derive(Debug, Args)]
pub struct Decide {
    /// Their numbers in the inbox
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<i64>,

    /// Why: stands in the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: String,

    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// How the result is shown.
    #[command(flatten)]
    pub shown: Shown,
}

/// They are handled, whatever their amount.
pub(super) async fn approve(pool: &PgPool, waits: Waits, action: &str, decide: &Decide) -> Result<(), Stop> {
    let mut tx = pool.begin().await.map_err(roles::refuse)?;
    let ids = events::approve(&mut tx, waits, &decide.ids, &audit::actor()).await.map_err(roles::refuse)?;
    finish(tx, action, "is handled", &ids, decide).await
}

/// They change nothing.
pub(super) async fn reject(pool: &PgPool, waits: Waits, action: &str, decide: &Decide) -> Result<(), Stop> {
    let mut tx = pool.begin().await.map_err(roles::refuse)?;
    let actor = audit::actor();
    let ids = events::reject(&mut tx, waits, &decide.ids, &decide.reason, &actor).await.map_err(roles::refuse)?;
    finish(tx, action, "is settled as rejected", &ids, decide).await
}

async fn finish(
    mut tx: sqlx::PgTransaction<'_>,
    action: &str,
    done: &str,
    ids: &[i64],
    decide: &Decide,
) -> Result<(), Stop> {
    if ids.is_empty() {
        let asked: Vec<_> = decide.ids.iter().map(ToString::to_string).collect();
        return Err(Stop::failed(
            Exit::Failed,
            format!("none of {} waits for this", asked.join(", ")),
            "look at its outcome: order-worker inbox show ID",
        ));
    }
    for id in ids {
        let (detail, actor) = (json!({ "reason": decide.reason }), audit::actor());
        audit::record(&mut tx, &actor, action, &id.to_string(), &detail).await.map_err(roles::refuse)?;
    }
    if decide.dry_run { tx.rollback().await } else { tx.commit().await }.map_err(roles::refuse)?;
    match decide.shown.output {
        Format::Json => output::json(&json!({ "ids": ids, "dry_run": decide.dry_run })),
        Format::Table => output::write(|out| {
            let would = if decide.dry_run { " (dry run: nothing was changed)" } else { "" };
            ids.iter().try_for_each(|id| writeln!(out, "event {id} {done}{would}"))
        }),
    }
}
