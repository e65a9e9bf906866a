//! `order-worker incident`.

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::json;

use super::change::Change;
use super::exit::{Exit, Stop};
use super::output::{self, Format, Output};
use super::roles;
use crate::app::config::Config;
use crate::operations::incidents::{self, Selection, next_step};
use crate::platform::database::PgPool;

/// The commands below `incident`.
#[derive(Debug, Subcommand)]
pub enum IncidentCommand {
    /// List open incidents, the newest first
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker incident list\n",
        "  order-worker incident list --kind paid_cancelled -o json\n",
        "  order-worker incident list --all --order o-17\n",
        "\n",
        "Exit codes: 0 done, 1 failed, 2 refused",
    ))]
    List(List),

    /// Show one incident, with what to do about its kind
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker incident show 12\n",
        "\n",
        "Exit codes: 0 done, 1 there is no such incident, 2 refused",
    ))]
    Show(Show),

    /// Say that incidents were looked at and mended
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker incident resolve 12 13 --reason 'refunded, ticket 42' --as ada\n",
        "\n",
        "Exit codes: 0 done, 1 none of them is open, 2 refused",
    ))]
    Resolve(Resolve),
}

/// Which incidents, and in which form.
#[derive(Debug, Args)]
pub struct List {
    /// Resolved ones too
    #[arg(long)]
    pub all: bool,

    /// Of this kind
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,

    /// About this order
    #[arg(long, value_name = "ID")]
    pub order: Option<String>,

    /// The length of the list.
    #[command(flatten)]
    pub list: output::Rows,
}

/// Which incident.
#[derive(Debug, Args)]
pub struct Show {
    /// Its number
    #[arg(value_name = "ID")]
    pub id: i64,

    /// The form of the result.
    #[command(flatten)]
    pub output: Output,
}

/// Which incidents, and why.
#[derive(Debug, Args)]
pub struct Resolve {
    /// Their numbers
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<i64>,

    /// The change.
    #[command(flatten)]
    pub change: Change,
}

pub(super) async fn run(command: &IncidentCommand, config: &Config) -> Result<(), Stop> {
    let pool = roles::database(config).await?;
    match command {
        IncidentCommand::List(List { all, kind, order, list }) => {
            let selection = Selection { resolved_too: *all, kind: kind.clone(), order: order.clone(), id: None };
            output::list(&list.output, &incidents::list(&pool, &selection, list.limit).await?)
        }
        IncidentCommand::Show(show) => {
            let selection = Selection { resolved_too: true, id: Some(show.id), ..Selection::default() };
            let incidents = incidents::list(&pool, &selection, 1).await?;
            let Some(incident) = incidents.first() else {
                return Err(Stop::failed(
                    Exit::Failed,
                    format!("there is no incident {}", show.id),
                    "order-worker incident list --all",
                ));
            };
            let mut json = json!(incident);
            json["next"] = json!(next_step(incident));
            match show.output.format {
                Format::Json => output::json(&json),
                Format::Table => output::fields(&[json]),
            }
        }
        IncidentCommand::Resolve(resolve) => self::resolve(&pool, resolve).await,
    }
}

async fn resolve(pool: &PgPool, Resolve { ids, change }: &Resolve) -> Result<(), Stop> {
    let actor = change.actor()?;
    let mut tx = pool.begin().await?;
    let resolved = incidents::resolve(&mut tx, ids, &change.reason, &actor).await?;
    change.end(tx).await?;
    match change.output.format {
        Format::Json => output::json(&json!({ "ids": resolved, "dry_run": change.dry_run })),
        Format::Table => output::write(|out| {
            ids.iter().try_for_each(|id| {
                if resolved.contains(id) {
                    writeln!(out, "incident {id} {} resolved", change.is())
                } else {
                    writeln!(out, "incident {id} is not open: it is left as it is")
                }
            })
        }),
    }
}
