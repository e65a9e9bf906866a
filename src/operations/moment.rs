//! Moments, as operators write them.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use humantime_serde::re::humantime;

use crate::engine::runs::ledger;
use crate::platform::database::PgPool;

/// So long ago, or a date and time.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// Before the database's now.
    Ago(Duration),
    /// RFC 3339.
    At(DateTime<Utc>),
}

/// The text is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time ago (2h, 3d) or a moment (2026-01-31T14:00:00Z) is expected")]
pub struct NoMoment;

impl FromStr for Moment {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Self, NoMoment> {
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::At(at.to_utc()));
        }
        humantime::parse_duration(text).map(Self::Ago).map_err(|_| NoMoment)
    }
}

impl Moment {
    /// By the database's clock.
    pub async fn resolve(self, pool: &PgPool) -> Result<DateTime<Utc>, sqlx::Error> {
        Ok(self.before(ledger::now(pool).await?))
    }

    /// By a clock that shows `now`.
    #[must_use]
    pub fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => {
                let then = TimeDelta::from_std(ago).ok().and_then(|ago| now.checked_sub_signed(ago));
                then.unwrap_or(DateTime::UNIX_EPOCH).max(DateTime::UNIX_EPOCH)
            }
        }
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
        assert!(resolved("yesterday").unwrap_err().to_string().contains("2h, 3d"));
        assert_eq!(resolved("10000years"), Ok(0));
    }
}
