//! `order-worker quarantine`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::Stop;
use super::output::{self, Format};
use super::roles;
use super::waiting::{self, Decide};
use crate::app::config::Config;
use crate::operations::events::{self, Waits};
use crate::operations::masked;

/// The commands below `quarantine`.
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List events whose id came before with another body, the oldest first
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker quarantine list\n",
        "  order-worker quarantine list -o json\n",
        "  order-worker inbox list --event ID     # the one that came first\n",
        "\n",
        "Exit codes: 0 done, 1 failed, 2 refused",
    ))]
    List(output::Rows),

    /// Decide about quarantined events: --accept handles them as events of their own, --drop settles them
    ///
    /// Accepting says that a body counts, not that its amount will do: that is judged like any other. --dry-run also tells what has
    /// happened to the order since.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker quarantine resolve 4711 --drop --reason 'sent by a test' --as ada\n",
        "  order-worker quarantine resolve 4711 --accept --reason 'the publisher used an id twice' --as ada\n",
        "\n",
        "Exit codes: 0 done, 1 none of them is quarantined, 2 refused",
    ))]
    Resolve(Resolve),
}

/// Which way.
#[derive(Debug, Args)]
pub struct Resolve {
    /// Handle them
    #[arg(long, conflicts_with = "drop", required_unless_present = "drop")]
    pub accept: bool,

    /// Settle them: they change nothing
    #[arg(long)]
    pub drop: bool,

    /// Which, and why.
    #[command(flatten)]
    pub decide: Decide,
}

pub(super) async fn run(command: &QuarantineCommand, config: &Config) -> Result<(), Stop> {
    let pool = roles::database(config).await?;
    match command {
        QuarantineCommand::Resolve(Resolve { accept, decide, .. }) => {
            waiting::decide(&pool, Waits::Quarantined, *accept, decide).await
        }
        QuarantineCommand::List(list) => {
            let events = events::waiting(&pool, Waits::Quarantined, list.limit).await?;
            match list.output.format {
                Format::Json => {
                    let events = events.iter().map(|event| {
                        json!({
                            "id": event.id, "topic": event.topic, "source": event.source, "event_id": event.event_id,
                            "order_id": event.order_id, "reason": event.reason, "received_at": event.received_at,
                            "body": masked(&event.body),
                        })
                    });
                    output::json(&events.collect::<Vec<_>>())
                }
                Format::Table => output::rows(&events),
            }
        }
    }
}
