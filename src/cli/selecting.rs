//! What many commands share: moments and windows of time, and the consent to a large change.

use std::io::{BufRead, IsTerminal, Write};
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use humantime_serde::re::humantime;

use super::exit::{Exit, Stop};
use super::roles;
use crate::engine::runs::ledger;
use crate::operations;
use crate::platform::database::PgPool;

/// Changes of more rows than this are asked about.
const UNASKED: u64 = 100;

/// A moment, as people write it: so long ago, or by date and time.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// Before the database's now.
    Ago(Duration),
    /// RFC 3339.
    At(DateTime<Utc>),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::At(at.to_utc()));
        }
        let ago = humantime::parse_duration(text);
        ago.map(Self::Ago).map_err(|_| "a time ago (2h, 3d) or a moment (2026-01-31T14:00:00Z) is expected".into())
    }
}

impl Moment {
    /// By the database's clock.
    pub(super) async fn resolve(self, pool: &PgPool) -> Result<DateTime<Utc>, Stop> {
        Ok(self.before(ledger::now(pool).await.map_err(roles::refuse)?))
    }

    fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => {
                let then = chrono::TimeDelta::from_std(ago).ok().and_then(|ago| now.checked_sub_signed(ago));
                then.unwrap_or(DateTime::UNIX_EPOCH).max(DateTime::UNIX_EPOCH)
            }
        }
    }
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
        let now = ledger::now(pool).await.map_err(roles::refuse)?;
        let resolve = |moment: Option<Moment>| moment.map(|moment| moment.before(now));
        Ok(operations::Window { since: resolve(self.since), until: resolve(self.until) })
    }
}

/// How a change is made.
#[derive(Clone, Copy, Debug, Args)]
pub struct Change {
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Consent to a change of exactly so many rows; asked for beyond 100 where nobody can be asked
    #[arg(long, value_name = "ROWS")]
    pub confirm: Option<u64>,
}

impl Change {
    /// Whether a change of so many rows may be made: few, consented to by `--confirm`, or typed by somebody at a terminal.
    pub(super) fn consent(&self, rows: u64, what: &str) -> Result<(), Stop> {
        if rows <= UNASKED || self.confirm == Some(rows) {
            return Ok(());
        }
        let refused = |message: String| {
            Stop::failed(Exit::Failed, message, format!("look with --dry-run, then add --confirm {rows}"))
        };
        if self.confirm.is_some() || !std::io::stdin().is_terminal() {
            return Err(refused(format!("this would {what} {rows} rows: that is to be confirmed")));
        }
        let mut answer = String::new();
        let asked = write!(std::io::stderr(), "This would {what} {rows} rows. Type {rows} to go on: ")
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
    fn a_moment_is_so_long_ago_or_a_date() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let resolved = |text: &str| text.parse::<Moment>().map(|moment| moment.before(now).timestamp());
        assert_eq!(resolved("2h"), Ok(1_700_000_000 - 7_200));
        assert_eq!(resolved("2023-11-14T22:13:20Z"), Ok(1_700_000_000));
        assert_eq!(resolved("2023-11-15T00:13:20+02:00"), Ok(1_700_000_000));
        assert!(resolved("yesterday").unwrap_err().contains("2h, 3d"));
        assert_eq!(resolved("10000years"), Ok(0));
    }

    #[test]
    fn a_large_change_is_to_be_confirmed_with_its_number() {
        let change = |confirm| Change { dry_run: false, confirm };
        assert!(change(None).consent(100, "redrive").is_ok());
        assert!(change(Some(101)).consent(101, "redrive").is_ok());
        assert!(change(Some(100)).consent(101, "redrive").is_err());
    }
}
