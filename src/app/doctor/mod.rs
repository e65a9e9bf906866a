//! The doctor: looks at everything that the worker stands on, and says of each thing whether it is well and what to do if not.
//!
//! It changes nothing, and never stops at the first thing that is wrong: what cannot be looked at is itself a finding.

mod amounts;
mod broker;
mod collector;
mod consul;
mod database;
mod reconciliation;
mod sidecar;
mod tables;
mod warehouse;
mod zones;

use serde::Serialize;

use crate::app::config::Config;
use crate::platform::database::PgPool;

/// The state of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it has to be.
    Ok,
    /// It works, and something about it will hurt one day.
    Warning,
    /// It does not work, or a guarantee does not hold.
    Broken,
}

/// A finding about one thing.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The thing.
    pub about: String,
    /// Its state.
    pub state: State,
    /// The observation.
    pub seen: String,
    /// The next step; empty when all is well.
    pub next: String,
}

/// Findings, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, about: impl Into<String>, seen: impl Into<String>) {
        self.0.push(Finding { about: about.into(), state: State::Ok, seen: seen.into(), next: String::new() });
    }

    fn warning(&mut self, about: impl Into<String>, seen: impl Into<String>, next: impl Into<String>) {
        self.0.push(Finding { about: about.into(), state: State::Warning, seen: seen.into(), next: next.into() });
    }

    fn broken(&mut self, about: impl Into<String>, seen: impl Into<String>, next: impl Into<String>) {
        self.0.push(Finding { about: about.into(), state: State::Broken, seen: seen.into(), next: next.into() });
    }
}

/// Looks at everything.
pub async fn examine(config: &Config, pool: &PgPool) -> Vec<Finding> {
    let mut findings = Findings::default();
    database::examine(config, pool, &mut findings).await;
    broker::examine(config, &mut findings).await;
    sidecar::examine(config, &mut findings).await;
    warehouse::examine(config, &mut findings).await;
    amounts::examine(config, &mut findings);
    consul::examine(config, &mut findings).await;
    collector::examine(config, &mut findings).await;
    findings.0
}
