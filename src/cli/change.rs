//! The flags that every change takes: the reason, the rehearsal, and the consent to a large one.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use sqlx::PgTransaction;

use super::exit::{Exit, Stop};
use super::operator::Operator;
use super::output::Output;
use crate::operations::{self, Moment};
use crate::platform::database::PgPool;

/// Changes of more rows than this are asked about.
const UNASKED: u64 = 100;

/// A change of what the command names.
#[derive(Debug, Args)]
pub struct Change {
    /// Why: stands in the audit log
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub reason: String,

    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Who.
    #[command(flatten)]
    pub operator: Operator,

    /// The form of the result.
    #[command(flatten)]
    pub output: Output,
}

impl Change {
    /// The person who makes it.
    pub(super) fn actor(&self) -> Result<String, Stop> {
        self.operator.person(self.dry_run)
    }

    /// Commits the change; a rehearsal is rolled back.
    pub(super) async fn end(&self, tx: PgTransaction<'_>) -> Result<(), Stop> {
        end(tx, self.dry_run).await
    }

    /// The verb of a sentence about a row that is changed.
    pub(super) const fn is(&self) -> &'static str {
        if self.dry_run { "would be" } else { "is" }
    }
}

/// Commits a change; a rehearsal is rolled back.
pub(super) async fn end(tx: PgTransaction<'_>, dry_run: bool) -> Result<(), Stop> {
    Ok(if dry_run { tx.rollback().await } else { tx.commit().await }?)
}

/// A window of time.
#[derive(Clone, Copy, Debug, Args)]
pub struct Window {
    /// From when: so long ago (2h, 3d), or a moment (2026-01-31T14:00:00Z)
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Moment>,

    /// Until when, in the same forms
    #[arg(long, value_name = "WHEN")]
    pub until: Option<Moment>,
}

impl Window {
    /// By the database's clock.
    pub(super) async fn resolve(self, pool: &PgPool) -> Result<operations::Window, Stop> {
        Ok(operations::Window::between(pool, self.since, self.until).await?)
    }
}

/// The consent to a change of many rows.
#[derive(Clone, Copy, Debug, Args)]
pub struct Consent {
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Consent to a change of exactly so many rows; asked for beyond 100 where nobody can be asked
    #[arg(long, value_name = "ROWS")]
    pub confirm: Option<u64>,
}

impl Consent {
    /// Refuses a change of so many rows, unless they are few, confirmed by `--confirm`, or typed by somebody at a terminal.
    pub(super) fn obtain(&self, rows: u64, verb: &str) -> Result<(), Stop> {
        if rows <= UNASKED || self.confirm == Some(rows) {
            return Ok(());
        }
        let refused = |message: String| {
            Stop::failed(Exit::Failed, message, format!("look with --dry-run, then add --confirm {rows}"))
        };
        if self.confirm.is_some() || !std::io::stdin().is_terminal() {
            return Err(refused(format!("this would {verb} {rows} rows: that is to be confirmed")));
        }
        let mut answer = String::new();
        let asked = write!(std::io::stderr(), "This would {verb} {rows} rows. Type {rows} to go on: ")
            .and_then(|()| std::io::stdin().lock().read_line(&mut answer));
        if asked.is_ok() && answer.trim() == rows.to_string() {
            return Ok(());
        }
        Err(refused("not confirmed: nothing was changed".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_change_is_to_be_confirmed_with_its_number() {
        let consent = |confirm| Consent { dry_run: false, confirm };
        assert!(consent(None).obtain(100, "redrive").is_ok());
        assert!(consent(Some(101)).obtain(101, "redrive").is_ok());
        assert!(consent(Some(100)).obtain(101, "redrive").is_err());
    }
}
