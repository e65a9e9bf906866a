//! `pause` and `resume`, of queues and of jobs alike.

use std::io::Write;

use chrono::{DateTime, Utc};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;

use super::exit::Stop;
use super::operator::Operator;
use super::shown::{Format, Shown};
use super::{output, roles};
use crate::operations::pauses::{Pausable, Pause};
use crate::platform::database::PgPool;

/// The flags of `pause` and `resume`.
#[derive(Debug, Args)]
pub struct Flags {
    /// Why: stands in the audit log, and beside the pause
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub reason: String,

    /// Who.
    #[command(flatten)]
    pub operator: Operator,

    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// How the result is shown.
    #[command(flatten)]
    pub shown: Shown,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Pause,
    Resume,
}

/// Pauses or resumes `what`, called `name`. That it is so already is no error: what was asked for holds.
pub(super) async fn run(pool: &PgPool, what: Pausable, name: &str, change: Change, flags: &Flags) -> Result<(), Stop> {
    let actor = flags.operator.person(flags.dry_run)?;
    let before = what.paused(pool).await.map_err(roles::refuse)?;
    let mut tx = pool.begin().await.map_err(roles::refuse)?;
    let changed = match change {
        Change::Pause => what.pause(&mut tx, &flags.reason, &actor).await,
        Change::Resume => what.resume(&mut tx, &flags.reason, &actor).await,
    }
    .map_err(roles::refuse)?;
    if flags.dry_run { tx.rollback().await } else { tx.commit().await }.map_err(roles::refuse)?;

    let paused = change == Change::Pause;
    match flags.shown.output {
        Format::Json => output::json(
            &json!({ "name": name, "paused": paused, "changed": changed && !flags.dry_run, "dry_run": flags.dry_run }),
        ),
        Format::Table => {
            let line = match (changed, change, before) {
                (true, Change::Pause, _) if flags.dry_run => format!("{name} would be paused"),
                (true, Change::Resume, _) if flags.dry_run => format!("{name} would be resumed"),
                (true, Change::Pause, _) => format!("{name} is paused"),
                (true, Change::Resume, _) => format!("{name} goes on"),
                (false, Change::Pause, Some(Pause { paused_at, paused_by, .. })) => {
                    format!("{name} was paused already, at {} by {paused_by}", output::moment(paused_at))
                }
                (false, Change::Pause, None) => format!("{name} was paused already"),
                (false, Change::Resume, _) => format!("{name} was not paused"),
            };
            output::write(|out| writeln!(out, "{line}"))
        }
    }
}

/// A pause in a cell of a table: since when, by whom, why.
pub(super) fn told(at: Option<DateTime<Utc>>, by: Option<&str>, reason: Option<&str>) -> String {
    let Some(at) = at else { return output::dash(None::<&str>) };
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{} by {}{reason}", output::moment(at), output::dash(by))
}
