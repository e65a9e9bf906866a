//! The modes of a worker.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

/// The mode of a worker. Every mode drains the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// The background jobs (default)
    #[default]
    Cron,
    /// The consumers of payment events
    Event,
    /// Both
    All,
}

impl Mode {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cron => "cron",
            Self::Event => "event",
            Self::All => "all",
        }
    }

    /// Whether payment events are consumed.
    #[must_use]
    pub fn consumes_events(self) -> bool {
        matches!(self, Self::Event | Self::All)
    }

    /// Whether background jobs run.
    #[must_use]
    pub fn runs_jobs(self) -> bool {
        matches!(self, Self::Cron | Self::All)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A mode that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown mode {0:?}; the modes are cron, event and all")]
pub struct UnknownMode(pub String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(name: &str) -> Result<Self, UnknownMode> {
        <Self as ValueEnum>::from_str(name, false).map_err(|_| UnknownMode(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_read_by_its_exact_name() {
        for mode in [Mode::Cron, Mode::Event, Mode::All] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert!("Cron".parse::<Mode>().is_err());
        assert_eq!(Mode::default(), Mode::Cron);
    }
}
