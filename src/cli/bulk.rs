//! `order-worker dead redrive`, `skip` and `runs`: many rows at once.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;

use super::change::Consent;
use super::changes_since;
use super::exit::{Exit, Stop};
use super::operator::Operator;
use super::output::{self, Format, Output, Runs};
use super::runs::{self, Here, Rules, counting, unpaused, until_ended};
use crate::app::config::Config;
use crate::engine::queue::Queue;
use crate::operations::bulk::{self, Bulk, DEAD_ROWS, Verb};
use crate::operations::dead::{self, DeadRow, Selection};
use crate::operations::since::{self, Since};
use crate::platform::database::PgPool;

/// The most rows that one command changes.
const MOST: u32 = 100_000;

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

/// Which rows are tried again.
#[derive(Debug, Args)]
pub struct Redrive {
    /// Which.
    #[command(flatten)]
    pub filter: Filter,

    /// All of them
    #[arg(long)]
    pub all: bool,

    /// Why: stands in the audit log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,

    /// The way.
    #[command(flatten)]
    pub way: Way,
}

/// Which rows are given up, and why.
#[derive(Debug, Args)]
pub struct Skip {
    /// Which.
    #[command(flatten)]
    pub filter: Filter,

    /// Why: stands in the outcome and in the audit log
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub reason: String,

    /// The way.
    #[command(flatten)]
    pub way: Way,
}

/// The way in which rows are changed.
#[derive(Debug, Args)]
pub struct Way {
    /// Do not wait for the end: workers make it
    #[arg(long, conflicts_with = "here")]
    pub detach: bool,

    /// Where.
    #[command(flatten)]
    pub here: Here,

    /// Who.
    #[command(flatten)]
    pub operator: Operator,

    /// Consent.
    #[command(flatten)]
    pub consent: Consent,

    /// The form of the result.
    #[command(flatten)]
    pub output: Output,
}

pub(super) async fn redrive(pool: &PgPool, redrive: &Redrive, config: &Config) -> Result<(), Stop> {
    if redrive.filter.is_empty() && !redrive.all {
        return Err(Stop::failed(Exit::Usage, "nothing says which rows", "--queue, --key, --because, --id, or --all"));
    }
    run(pool, Verb::Redrive, &Of::dead(&redrive.filter), &redrive.reason, &redrive.way, config).await
}

pub(super) async fn skip(pool: &PgPool, skip: &Skip, config: &Config) -> Result<(), Stop> {
    if skip.filter.is_empty() {
        return Err(Stop::failed(Exit::Usage, "nothing says which rows", "--queue, --key, --because, or --id"));
    }
    run(pool, Verb::Skip, &Of::dead(&skip.filter), &skip.reason, &skip.way, config).await
}

pub(super) async fn list(pool: &PgPool, runs: &Runs) -> Result<(), Stop> {
    output::list(&runs.output, &bulk::runs(pool, None, runs.limit).await?)
}

/// The selected rows, and the selection in the words of the command line.
pub(super) struct Of {
    selection: Selection,
    target: String,
}

impl Of {
    fn dead(filter: &Filter) -> Self {
        Self { selection: filter.selection(), target: target(filter) }
    }

    /// Messages that are not sent, by their numbers.
    pub(super) fn unsent(ids: &[i64]) -> Self {
        let selection = Selection { ids: ids.to_vec(), unsent: true, ..Selection::default() };
        let ids: Vec<_> = ids.iter().take(20).map(ToString::to_string).collect();
        Self { selection, target: ids.join(" ") }
    }
}

pub(super) async fn run(
    pool: &PgPool,
    verb: Verb,
    of: &Of,
    reason: &str,
    way: &Way,
    config: &Config,
) -> Result<(), Stop> {
    let actor = way.operator.person(way.consent.dry_run)?;
    let unsent = of.selection.unsent;
    // One more than may be changed at once is too many.
    let selected = dead::list(pool, &of.selection, MOST + 1).await?;
    let (selected, others): (Vec<_>, Vec<_>) = selected.into_iter().partition(|row| verb.is_for(row.state));
    if !others.is_empty() {
        output::note(&format!(
            "note: {} of them wait for no attempt, and go on by themselves: passed over",
            others.len()
        ));
    }
    if selected.is_empty() {
        return Err(bulk::nothing(unsent).into());
    }
    if selected.len() > MOST as usize {
        let hint = "select fewer by --queue, --because or --key, and do it in parts";
        return Err(Stop::failed(Exit::Failed, format!("more than {MOST} rows are selected"), hint));
    }
    if way.consent.dry_run {
        let ids: Vec<i64> = selected.iter().map(|row| row.id).collect();
        let mut connection = pool.acquire().await?;
        let since = since::of(&mut connection, &ids).await?;
        return rehearsed(&way.output, &selected, &since);
    }
    let rows = selected.len() as u64;
    way.consent.obtain(rows, verb.as_str())?;
    unpaused(pool, None).await?;
    let ids: Vec<i64> = selected.iter().map(|row| row.id).collect();
    let executor = runs::executor(pool, config, &way.here, Rules::None, way.detach).await?;
    let bulk = Bulk { verb, rows, actor, reason: reason.to_owned(), unsent };
    let mut tx = pool.begin().await?;
    let id = bulk::ask(&mut tx, &ids, &bulk, &of.target).await?;
    tx.commit().await?;
    if way.detach {
        return told(pool, id, &way.output).await;
    }
    let bar = counting("rows", Some(rows));
    let failed = until_ended(pool, &executor, DEAD_ROWS, id, &bar).await?;
    told(pool, id, &way.output).await?;
    failed
        .map_or(Ok(()), |error| Err(Stop::failed(Exit::Failed, format!("run {id}: {error}"), "order-worker dead list")))
}

/// Tells of a rehearsal: the rows that would be changed, and everything that has happened to their orders since.
fn rehearsed(output: &Output, selected: &[DeadRow], since: &[Since]) -> Result<(), Stop> {
    match output.format {
        Format::Json => {
            let with_since = |row: &DeadRow| {
                let mut json = json!(row);
                json["since"] = json!(since.iter().filter(|one| one.id == row.id).collect::<Vec<_>>());
                json
            };
            output::json(&selected.iter().map(with_since).collect::<Vec<_>>())
        }
        Format::Table => {
            output::rows(selected)?;
            changes_since::show(since)
        }
    }
}

/// Tells the result of one run.
async fn told(pool: &PgPool, id: i64, output: &Output) -> Result<(), Stop> {
    let runs = bulk::runs(pool, Some(id), 1).await?;
    match (output.format, runs.as_slice()) {
        (Format::Table, [run]) if run.finished_at.is_some() => {
            let (Bulk { verb, rows, .. }, done) = (&run.request.0, run.items);
            let word = match verb {
                Verb::Redrive => "redriven",
                Verb::Skip => "skipped",
            };
            let left = i64::try_from(*rows).unwrap_or(i64::MAX) - done;
            let rest = if left > 0 {
                format!("; {left} more were selected, but are done with, just being sent, or not reached")
            } else {
                String::new()
            };
            output::line(&format!("{done} rows {word}{rest}"))
        }
        (_, runs) => output::list(output, runs),
    }
}

/// A selection in the words of the command line.
fn target(filter: &Filter) -> String {
    let Filter { queue, key, because, ids } = filter;
    let parts = [
        queue.map(|queue| format!("--queue {queue}")),
        key.as_ref().map(|key| format!("--key {key}")),
        because.as_ref().map(|words| format!("--because '{words}'")),
        (!ids.is_empty()).then(|| format!("--id ({} of them)", ids.len())),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "--all".to_owned() } else { parts.join(" ") }
}
