//! `pause` and `resume`, of queues and of jobs alike.

use serde_json::json;

use super::change::Change;
use super::exit::Stop;
use super::output::{self, Format};
use crate::operations::pauses::{Pausable, Pause};
use crate::platform::database::PgPool;

/// Pauses `what`. That it is paused already is no error: what was asked for holds.
pub(super) async fn pause(pool: &PgPool, what: Pausable, change: &Change) -> Result<(), Stop> {
    let actor = change.actor()?;
    let before = what.paused(pool).await?;
    let mut tx = pool.begin().await?;
    let changed = what.pause(&mut tx, &change.reason, &actor).await?;
    change.end(tx).await?;
    let name = what.name();
    let line = match (changed, before) {
        (true, _) => format!("{name} {} paused", change.is()),
        (false, Some(Pause { paused_at, paused_by, .. })) => {
            format!("{name} was paused already, at {} by {paused_by}", output::moment(paused_at))
        }
        (false, None) => format!("{name} was paused already"),
    };
    tell(name, true, changed, change, &line)
}

/// Resumes `what`. That it is not paused is no error.
pub(super) async fn resume(pool: &PgPool, what: Pausable, change: &Change) -> Result<(), Stop> {
    let actor = change.actor()?;
    let mut tx = pool.begin().await?;
    let changed = what.resume(&mut tx, &change.reason, &actor).await?;
    change.end(tx).await?;
    let name = what.name();
    let line = match (changed, change.dry_run) {
        (true, true) => format!("{name} would be resumed"),
        (true, false) => format!("{name} goes on"),
        (false, _) => format!("{name} was not paused"),
    };
    tell(name, false, changed, change, &line)
}

fn tell(name: &str, paused: bool, changed: bool, change: &Change, line: &str) -> Result<(), Stop> {
    let dry_run = change.dry_run;
    match change.output.format {
        Format::Json => {
            let changed = changed && !dry_run;
            output::json(&json!({ "name": name, "paused": paused, "changed": changed, "dry_run": dry_run }))
        }
        Format::Table => output::line(line),
    }
}
