//! `order-worker queue`.

use clap::{Args, Subcommand};

use super::change::Change;
use super::exit::Stop;
use super::output::{self, Output};
use super::{pause, roles};
use crate::app::config::Config;
use crate::engine::queue::{Queue, contents};
use crate::operations::QUEUES;
use crate::operations::pauses::Pausable;

/// The commands below `queue`.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Show what each queue holds, and whether it is paused
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker queue list\n",
        "  order-worker queue list -o json | jq '.[] | select(.dead > 0)'\n",
        "\n",
        "Exit codes: 0 done, 1 failed, 2 refused",
    ))]
    List(Output),

    /// Take nothing from a queue until it is resumed
    ///
    /// What is in hand is finished; what comes in is kept. Of the inbox: events are taken in and wait.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker queue pause warehouse --reason 'stocktaking until 14:00' --as ada\n",
        "  order-worker queue pause dapr --reason 'a look' --dry-run\n",
        "\n",
        "Exit codes: 0 done or paused already, 1 failed, 2 refused",
    ))]
    Pause(Which),

    /// Let a paused queue go on
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker queue resume warehouse --reason 'counted' --as ada\n",
        "\n",
        "Exit codes: 0 done or not paused, 1 failed, 2 refused",
    ))]
    Resume(Which),
}

/// A queue to be paused or resumed.
#[derive(Debug, Args)]
pub struct Which {
    /// The queue
    #[arg(value_name = "QUEUE", value_parser = super::args::queue())]
    pub queue: Queue,

    /// The change.
    #[command(flatten)]
    pub change: Change,
}

pub(super) async fn run(command: &QueueCommand, config: &Config) -> Result<(), Stop> {
    let pool = roles::database(config).await?;
    match command {
        QueueCommand::Pause(which) => pause::pause(&pool, Pausable::Queue(which.queue), &which.change).await,
        QueueCommand::Resume(which) => pause::resume(&pool, Pausable::Queue(which.queue), &which.change).await,
        QueueCommand::List(output) => output::list(output, &contents(&pool, &QUEUES).await?),
    }
}
