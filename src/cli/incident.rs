//! `order-worker incident`.

use std::io::Write;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::{Exit, Stop};
use super::operator::Operator;
use super::shown::{Format, Shown};
use super::{output, roles};
use crate::app::config::Config;
use crate::operations::incidents::{self, Incident, Selection, next_step};
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

/// Which incidents, and how they are shown.
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

    /// The most incidents shown: 1 to 10000
    #[arg(long, value_name = "INCIDENTS", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,

    /// How they are shown.
    #[command(flatten)]
    pub shown: Shown,
}

/// Which incident.
#[derive(Debug, Args)]
pub struct Show {
    /// Its number
    #[arg(value_name = "ID")]
    pub id: i64,

    /// How it is shown.
    #[command(flatten)]
    pub shown: Shown,
}

/// Which incidents, and why.
#[derive(Debug, Args)]
pub struct Resolve {
    /// Their numbers
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<i64>,

    /// What was done: stands in the audit log
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub reason: String,

    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Who.
    #[command(flatten)]
    pub operator: Operator,

    /// How the result is shown.
    #[command(flatten)]
    pub shown: Shown,
}

pub(super) async fn run(command: &IncidentCommand, config: &Config) -> Result<(), Stop> {
    let pool = roles::database(config).await?;
    match command {
        IncidentCommand::List(list) => {
            let List { all, kind, order, .. } = list;
            let selection = Selection { resolved_too: *all, kind: kind.clone(), order: order.clone(), id: None };
            let incidents = incidents::list(&pool, &selection, list.limit).await.map_err(roles::refuse)?;
            match list.shown.output {
                Format::Json => output::json(&incidents),
                Format::Table => output::table(
                    ["id", "opened", "kind", "order", "resolved", "detail"],
                    incidents.into_iter().map(|incident| {
                        let Incident { id, opened_at, kind, order_id, resolved_at, resolved_by, detail, .. } = incident;
                        let resolved =
                            resolved_at.zip(resolved_by).map(|(at, by)| format!("{} by {by}", output::moment(at)));
                        [
                            id.to_string(),
                            output::moment(opened_at),
                            kind,
                            output::dash(order_id),
                            output::dash(resolved),
                            detail,
                        ]
                    }),
                ),
            }
        }
        IncidentCommand::Show(show) => {
            let selection = Selection { resolved_too: true, id: Some(show.id), ..Selection::default() };
            let incidents = incidents::list(&pool, &selection, 1).await.map_err(roles::refuse)?;
            let Some(incident) = incidents.first() else {
                return Err(Stop::failed(
                    Exit::Failed,
                    format!("there is no incident {}", show.id),
                    "order-worker incident list --all",
                ));
            };
            let mut json = json!(incident);
            json["next"] = json!(next_step(incident));
            match show.shown.output {
                Format::Json => output::json(&json),
                Format::Table => output::fields(&[json]),
            }
        }
        IncidentCommand::Resolve(resolve) => self::resolve(&pool, resolve).await,
    }
}

async fn resolve(pool: &PgPool, resolve: &Resolve) -> Result<(), Stop> {
    let actor = resolve.operator.person(resolve.dry_run)?;
    let mut tx = pool.begin().await.map_err(roles::refuse)?;
    let ids = incidents::resolve(&mut tx, &resolve.ids, &resolve.reason, &actor).await.map_err(roles::refuse)?;
    if resolve.dry_run { tx.rollback().await } else { tx.commit().await }.map_err(roles::refuse)?;
    match resolve.shown.output {
        Format::Json => output::json(&json!({ "ids": ids, "dry_run": resolve.dry_run })),
        Format::Table => output::write(|out| {
            let would = if resolve.dry_run { "would be" } else { "is" };
            resolve.ids.iter().try_for_each(|id| {
                if ids.contains(id) {
                    writeln!(out, "incident {id} {would} resolved")
                } else {
                    writeln!(out, "incident {id} is not open: it is left as it is")
                }
            })
        }),
    }
}
