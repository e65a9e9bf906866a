//! `order-worker order`.

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::{Exit, Stop};
use super::output::{self, Format, Output};
use super::roles;
use crate::app::config::Config;
use crate::operations::story;

/// The commands below `order`.
#[derive(Debug, Subcommand)]
pub enum OrderCommand {
    /// Show one order's whole story on one time line
    ///
    /// Events that came in with their outcomes, status changes, announcements and warehouse calls with what became of them,
    /// incidents, returns; what is pending or parked, and why.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker order show o-17\n",
        "  order-worker order show o-17 -o json | jq '.story[] | select(.kind == \"event\")'\n",
        "\n",
        "Exit codes: 0 done, 1 nothing is known of it, 2 refused",
    ))]
    Show(Show),
}

/// Which order.
#[derive(Debug, Args)]
pub struct Show {
    /// Its id
    #[arg(value_name = "ORDER")]
    pub order: String,

    /// The form of the result.
    #[command(flatten)]
    pub output: Output,
}

pub(super) async fn run(command: &OrderCommand, config: &Config) -> Result<(), Stop> {
    let OrderCommand::Show(show) = command;
    let pool = roles::database(config).await?;
    let (order, steps) = story::of(&pool, &show.order).await?;
    if order.is_none() && steps.is_empty() {
        let message = format!("nothing is known of an order {}", show.order);
        return Err(Stop::failed(
            Exit::Failed,
            message,
            "order-worker inbox list --payment ID finds an order by its payment",
        ));
    }
    match show.output.format {
        Format::Json => output::json(&json!({ "order": order, "story": steps })),
        Format::Table => {
            let head = match &order {
                None => format!("{}: there is no such order, only what came for it", show.order),
                Some(order) => format!(
                    "{} ({}): {}, {} {}, paid by {}{}",
                    order.id,
                    order.order_number,
                    order.status,
                    order.total_amount,
                    order.currency,
                    order.payment_method,
                    if order.delivered { ", delivered" } else { "" }
                ),
            };
            output::write(|out| writeln!(out, "{head}\n"))?;
            output::rows(&steps)
        }
    }
}
