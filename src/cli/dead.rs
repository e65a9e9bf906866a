//! `order-worker dead`.

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::bulk::{self, Filter, Redrive, Skip};
use super::change::Change;
use super::exit::{Exit, Stop};
use super::output::{self, Format, Runs};
use super::{changes_since, roles};
use crate::app::config::Config;
use crate::operations::{self, dead, since};
use crate::platform::database::PgPool;

/// The commands below `dead`.
#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// List dead rows by queue and reason; with a filter, one by one
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker dead list\n",
        "  order-worker dead list --queue dapr -o json\n",
        "  order-worker dead list --because 'did not appear'\n",
        "\n",
        "Exit codes: 0 done, 1 failed, 2 refused",
    ))]
    List(List),

    /// Try dead rows again, from their first attempt on
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker dead redrive --because 'did not appear' --dry-run\n",
        "  order-worker dead redrive --queue dapr --reason 'the broker is mended' --as ada\n",
        "  order-worker dead redrive --all --confirm 1234 --reason 'a new version reads them' --as ada\n",
        "\n",
        "It is a run over the rows that are selected now, in batches. Workers perform it, and finish it when this command is interrupted; \
         order-worker cron cancel RUN ends it. --dry-run tells what has happened to the orders since.\n",
        "\n",
        "Exit codes: 0 done, 1 none is dead, not confirmed or cancelled, 2 refused",
    ))]
    Redrive(Redrive),

    /// Give one row that is dead, or waits for its next attempt, another body, and try it again; the old body is kept
    ///
    /// The body is checked when it is given, by the code that will use it: an event has to be readable, an announcement to have its
    /// topic's shape and its order, a call of the warehouse to name an item of its order and that item's reservation. --dry-run also tells
    /// what has happened to the order since.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker inbox show 4711 --reveal --reason 'ticket 42' --as ada -o json | jq '.[0].body' > body.json\n",
        "  order-worker dead edit 4711 --body body.json --reason 'the amount was text' --dry-run\n",
        "  order-worker dead edit 4711 --body - --reason 'the amount was text' --as ada < body.json\n",
        "\n",
        "Exit codes: 0 done, 1 there is no such row or the body cannot be used, 2 refused",
    ))]
    Edit(Edit),

    /// Give dead rows up for good: what is parked behind them goes on
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker dead skip --id 4711 --reason 'the consumer was told by hand' --as ada\n",
        "\n",
        "A run, as with redrive.\n",
        "\n",
        "Exit codes: 0 done, 1 none is dead, not confirmed or cancelled, 2 refused",
    ))]
    Skip(Skip),

    /// List what was redriven and skipped, the newest first
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker dead runs\n",
        "  order-worker dead runs -o json | jq '.[] | select(.finished_at == null)'\n",
        "\n",
        "Exit codes: 0 done, 1 failed, 2 refused",
    ))]
    Runs(Runs),
}

/// Which rows.
#[derive(Debug, Args)]
pub struct List {
    /// Which.
    #[command(flatten)]
    pub filter: Filter,

    /// The length of the list.
    #[command(flatten)]
    pub list: output::Rows,
}

/// Which row, and its new body.
#[derive(Debug, Args)]
pub struct Edit {
    /// Its number
    #[arg(value_name = "ID")]
    pub id: i64,

    /// The file with the new body, a JSON object; - is stdin
    #[arg(long, value_name = "FILE")]
    pub body: PathBuf,

    /// The change.
    #[command(flatten)]
    pub change: Change,
}

pub(super) async fn run(command: &DeadCommand, config: &Config) -> Result<(), Stop> {
    let pool = roles::database(config).await?;
    match command {
        DeadCommand::List(List { filter, list }) if filter.is_empty() => {
            output::list(&list.output, &dead::groups(&pool).await?)
        }
        DeadCommand::List(List { filter, list }) => {
            output::list(&list.output, &dead::list(&pool, &filter.selection(), list.limit).await?)
        }
        DeadCommand::Redrive(redrive) => bulk::redrive(&pool, redrive, config).await,
        DeadCommand::Edit(edit) => self::edit(&pool, edit).await,
        DeadCommand::Skip(skip) => bulk::skip(&pool, skip, config).await,
        DeadCommand::Runs(runs) => bulk::list(&pool, runs).await,
    }
}

async fn edit(pool: &PgPool, edit: &Edit) -> Result<(), Stop> {
    let read = || -> std::io::Result<Vec<u8>> {
        if edit.body.as_os_str() == "-" {
            let mut body = Vec::new();
            std::io::stdin().lock().read_to_end(&mut body)?;
            return Ok(body);
        }
        std::fs::read(&edit.body)
    };
    let body = read().map_err(|error| {
        Stop::failed(
            Exit::Usage,
            format!("cannot read {}: {error}", edit.body.display()),
            "--body FILE, or --body - for stdin",
        )
    })?;
    let change = &edit.change;
    let actor = change.actor()?;
    let mut tx = pool.begin().await?;
    let queue = operations::edit(&mut tx, edit.id, &body, &change.reason, &actor).await?;
    let since = if change.dry_run { since::of(&mut tx, &[edit.id]).await? } else { Vec::new() };
    change.end(tx).await?;
    match change.output.format {
        Format::Json => {
            output::json(&json!({ "id": edit.id, "queue": queue, "dry_run": change.dry_run, "since": since }))
        }
        Format::Table => {
            output::line(&format!("row {} of {queue} {} tried again with the new body", edit.id, change.is()))?;
            changes_since::show(&since)
        }
    }
}
