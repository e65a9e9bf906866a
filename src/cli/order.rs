//! `order-worker order`.

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::{Exit, Stop};
use super::shown::{Format, Shown};
use super::{output, roles};
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

    /// How it is shown.
    #[command(flatten)]
    pub shown: Shown,
}

pub(super) async fn run(command: &OrderCommand, config: &Config) -> Result<(), Stop> {
    let OrderCommand::Show(show) = command;
    let pool = roles::database(config).await?;
    let (order, steps) = story::of(&pool, &show.order).await.map_err(roles::refuse)?;
    if order.is_none() && steps.is_empty() {
        let message = format!("nothing is known of an order {}", show.order);
        return Err(Stop::failed(
            Exit::Failed,
            message,
            "order-worker inbox list --payment ID finds an order by its payment",
        ));
    }
    match show.shown.output {
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
            output::table(
                ["at", "kind", "what", "state", "detail"],
                steps.into_iter().map(|step| {
                    let at = step.at.format("%Y-%m-%d %H:%M:%S%.3fZ").to_string();
                    [
                        at,
                        step.kind,
                        output::dash(step.what),
                        output::dash(step.state),
                        output::dash(step.detail.filter(|d| !d.is_empty())),
                    ]
                }),
            )
        }
    }
}
