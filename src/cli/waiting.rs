//! Decisions about events that wait for an operator: held ones and quarantined ones alike.

use std::io::Write;

use clap::Args;
use serde_json::json;

use super::change::Change;
use super::changes_since;
use super::exit::Stop;
use super::output::{self, Format};
use crate::operations::events::{self, Waits};
use crate::operations::since;
use crate::platform::database::PgPool;

/// Events to decide about.
#[derive(Debug, Args)]
pub struct Decide {
    /// Their numbers in the inbox
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<i64>,

    /// The change.
    #[command(flatten)]
    pub change: Change,
}

/// Lets them be handled, or settles them without an effect.
pub(super) async fn decide(pool: &PgPool, waits: Waits, handle: bool, decide: &Decide) -> Result<(), Stop> {
    let Decide { ids: asked, change } = decide;
    let actor = change.actor()?;
    let mut tx = pool.begin().await?;
    let since = if change.dry_run { since::of(&mut tx, asked).await? } else { Vec::new() };
    let (done, ids) = if handle {
        ("is handled", events::approve(&mut tx, waits, asked, &change.reason, &actor).await?)
    } else {
        ("is settled as rejected", events::reject(&mut tx, waits, asked, &change.reason, &actor).await?)
    };
    change.end(tx).await?;
    let others: Vec<i64> = asked.iter().copied().filter(|id| !ids.contains(id)).collect();
    match change.output.format {
        Format::Json => output::json(&json!({
            "ids": ids, "unchanged": others, "dry_run": change.dry_run, "since": changes_since::by_row(&ids, &since),
        })),
        Format::Table => {
            let would = if change.dry_run { " (dry run: nothing was changed)" } else { "" };
            output::write(|out| {
                ids.iter().try_for_each(|id| writeln!(out, "event {id} {done}{would}"))?;
                others.iter().try_for_each(|id| writeln!(out, "event {id} does not wait for this: it is left as it is"))
            })?;
            changes_since::show(&since)
        }
    }
}
