//! Events of the inbox: which.

use clap::{Args, ValueEnum};

use super::change::Window;
use super::exit::Stop;
use crate::operations::events::Selection;
use crate::platform::database::PgPool;

/// Which events.
#[derive(Clone, Debug, Args)]
pub struct Filter {
    /// When they were received.
    #[command(flatten)]
    pub window: Window,

    /// Of this order
    #[arg(long, value_name = "ID")]
    pub order: Option<String>,

    /// Of this payment
    #[arg(long, value_name = "ID")]
    pub payment: Option<String>,

    /// With this CloudEvent id
    #[arg(long, value_name = "ID")]
    pub event: Option<String>,

    /// From this topic
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,

    /// With this outcome
    #[arg(long, value_name = "OUTCOME", value_enum)]
    pub outcome: Option<Outcome>,

    /// With these words in the reason
    #[arg(long, value_name = "WORDS")]
    pub because: Option<String>,
}

/// The outcomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Outcome {
    /// Not handled yet
    Pending,
    /// It changed its order
    Applied,
    /// Nothing was left to change
    Superseded,
    /// It asked for what cannot be
    Rejected,
    /// It waits for an operator
    Held,
    /// It was given up
    Dead,
    /// Its id came before with another body
    Quarantined,
}

impl Filter {
    pub(super) async fn resolve(&self, pool: &PgPool) -> Result<Selection, Stop> {
        let outcome = self.outcome.and_then(|outcome| Some(outcome.to_possible_value()?.get_name().to_owned()));
        let Self { window, order, payment, event, topic, because, .. } = self.clone();
        Ok(Selection { window: window.resolve(pool).await?, order, payment, event, topic, outcome, reason: because })
    }
}
