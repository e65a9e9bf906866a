//! Dead rows: which, and as a table.

use clap::Args;

use super::exit::Stop;
use super::output;
use super::shown::{Format, Shown};
use crate::engine::queue::Queue;
use crate::operations::dead::{DeadRow, Selection};

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

pub(super) fn show(shown: &Shown, rows: &[DeadRow]) -> Result<(), Stop> {
    match shown.output {
        Format::Json => output::json(&rows),
        Format::Table => output::table(
            ["queue", "id", "state", "since", "topic", "event", "order", "attempts", "parked", "reason"],
            rows.iter().map(|row| {
                [
                    row.queue.clone(),
                    row.id.to_string(),
                    row.state.to_string(),
                    output::moment(row.created_at),
                    output::dash(row.topic.as_deref()),
                    output::dash(row.event_id.as_deref()),
                    output::dash(row.order_id.as_deref()),
                    row.attempts.to_string(),
                    row.parked.to_string(),
                    output::dash(row.reason.as_deref()),
                ]
            }),
        ),
    }
}
