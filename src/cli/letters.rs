//! Dead rows: which, and as a table.

use clap::Args;

use super::exit::Stop;
use super::output;
use super::shown::{Format, Shown};
use crate::engine::queue::Queue;
use crate::operations::letters::{Letter, Selection};

/// Which rows.
#[derive(Clone, Debug, Args)]
pub struct Filter {
    /// Of this queue
    #[arg(long, value_name = "QUEUE", value_parser = super::args::queue())]
    pub queue: Option<Queue>,

    /// Of this order or reservation
    #[arg(long, value_name = "ID")]
    pub key: Option<String>,

    /// With these words in the reason
    #[arg(long, value_name = "WORDS")]
    pub because: Option<String>,

    /// With this number; may be given several times
    #[arg(long = "id", value_name = "ID")]
    pub ids: Vec<i64>,
}

impl Filter {
    pub(super) fn selection(&self) -> Selection {
        Selection {
            queue: self.queue,
            key: self.key.clone(),
            reason: self.because.clone(),
            ids: self.ids.clone(),
            unsent: false,
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.queue.is_none() && self.key.is_none() && self.because.is_none() && self.ids.is_empty()
    }
}

pub(super) fn show(shown: &Shown, letters: &[Letter]) -> Result<(), Stop> {
    match shown.output {
        Format::Json => output::json(&letters),
        Format::Table => output::table(
            ["queue", "id", "state", "since", "topic", "event", "order", "attempts", "parked", "reason"],
            letters.iter().map(|letter| {
                [
                    letter.queue.clone(),
                    letter.id.to_string(),
                    letter.state.clone(),
                    output::moment(letter.created_at),
                    output::dash(letter.topic.as_deref()),
                    output::dash(letter.event_id.as_deref()),
                    output::dash(letter.order_id.as_deref()),
                    letter.attempts.to_string(),
                    letter.parked.to_string(),
                    output::dash(letter.reason.as_deref()),
                ]
            }),
        ),
    }
}
