//! `order-worker queue`.

use clap::{Args, Subcommand};

use super::exit::Stop;
use super::pausing::{self, Change};
use super::shown::{Format, Shown};
use super::{output, roles};
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
    List(Shown),

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

/// Which queue, and how.
#[derive(Debug, Args)]
pub struct Which {
    /// The queue
    #[arg(value_name = "QUEUE", value_parser = super::args::queue())]
    pub queue: Queue,

    /// How.
    #[command(flatten)]
    pub flags: pausing::Flags,
}

pub(super) async fn run(command: &QueueCommand, config: &Config) -> Result<(), Stop> {
    let pool = roles::database(config).await?;
    let change = async |which: &Which, change| {
        pausing::run(&pool, Pausable::Queue(which.queue), which.queue.as_str(), change, &which.flags).await
    };
    match command {
        QueueCommand::Pause(which) => change(which, Change::Pause).await,
        QueueCommand::Resume(which) => change(which, Change::Resume).await,
        QueueCommand::List(shown) => {
            let queues = contents(&pool, &QUEUES).await.map_err(roles::refuse)?;
            match shown.output {
                Format::Json => output::json(&queues),
                Format::Table => output::table(
                    ["queue", "pending", "oldest", "dead", "parked", "paused"],
                    queues.into_iter().map(|queue| {
                        let (by, reason) = (queue.paused_by.as_deref(), queue.pause_reason.as_deref());
                        let paused = pausing::told(queue.paused_at, by, reason);
                        [
                            queue.queue,
                            queue.pending.to_string(),
                            format!("{:.0}s", queue.oldest_age),
                            queue.dead.to_string(),
                            queue.parked.to_string(),
                            paused,
                        ]
                    }),
                ),
            }
        }
    }
}
