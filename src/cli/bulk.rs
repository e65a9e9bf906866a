//! `order-worker dead redrive`, `skip` and `runs`: what is done to many dead rows.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;

use super::dead_rows::{Filter, show as show_rows};
use super::exit::{Exit, Stop};
use super::operator::Operator;
use super::performing::{self, Here, Judges, counting, unpaused, until_ended};
use super::selecting::Change;
use super::shown::{Format, Shown};
use super::{output, roles, told_since};
use crate::app::config::Config;
use crate::operations::bulk::DEAD_ROWS;
use crate::operations::bulk::{self, Bulk, BulkRun, Verb};
use crate::operations::dead::{self, DeadRow, Selection};
use crate::operations::since::{self, Since};
use crate::platform::database::PgPool;

/// The most rows that one command changes.
const MOST: u32 = 100_000;

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

    /// How.
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

    /// How.
    #[command(flatten)]
    pub way: Way,
}

/// How rows are changed.
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

    /// With what consent.
    #[command(flatten)]
    pub change: Change,

    /// How the result is shown.
    #[command(flatten)]
    pub shown: Shown,
}

/// How many runs.
#[derive(Debug, Args)]
pub struct Runs {
    /// The most runs shown: 1 to 10000
    #[arg(long, value_name = "RUNS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,

    /// How they are shown.
    #[command(flatten)]
    pub shown: Shown,
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
    show(&runs.shown, &bulk::runs(pool, None, runs.limit).await.map_err(roles::refuse)?)
}

/// Which rows, and how they were selected, in the words of the command line.
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
    let actor = way.operator.person(way.change.dry_run)?;
    let unsent = of.selection.unsent;
    // One more than may be changed at once is too many.
    let selected = dead::list(pool, &of.selection, MOST + 1).await.map_err(roles::refuse)?;
    let (selected, others): (Vec<_>, Vec<_>) = selected.into_iter().partition(|row| verb.is_for(row.state));
    if !others.is_empty() {
        output::note(&format!(
            "note: {} of them wait for no attempt, and go on by themselves: passed over",
            others.len()
        ));
    }
    if selected.is_empty() {
        return Err(roles::refuse(bulk::nothing(unsent)));
    }
    if selected.len() > MOST as usize {
        let hint = "select fewer by --queue, --because or --key, and do it in parts";
        return Err(Stop::failed(Exit::Failed, format!("more than {MOST} rows are selected"), hint));
    }
    if way.change.dry_run {
        let ids: Vec<i64> = selected.iter().map(|row| row.id).collect();
        let mut connection = pool.acquire().await.map_err(roles::refuse)?;
        let since = since::of(&mut connection, &ids).await.map_err(roles::refuse)?;
        return rehearsed(&way.shown, &selected, &since);
    }
    let rows = selected.len() as u64;
    way.change.consent(rows, verb.as_str())?;
    unpaused(pool, None).await?;
    let ids: Vec<i64> = selected.iter().map(|row| row.id).collect();
    let performer = performing::performer(pool, config, &way.here, Judges::Nothing, way.detach).await?;
    let bulk = Bulk { verb, rows, actor, reason: reason.to_owned(), unsent };
    let mut tx = pool.begin().await.map_err(roles::refuse)?;
    let id = bulk::ask(&mut tx, &ids, &bulk, &of.target).await.map_err(roles::refuse)?;
    tx.commit().await.map_err(roles::refuse)?;
    if way.detach {
        return told(pool, id, &way.shown).await;
    }
    let bar = counting("rows", Some(rows));
    let failed = until_ended(pool, &performer, DEAD_ROWS, id, &bar).await?;
    told(pool, id, &way.shown).await?;
    failed
        .map_or(Ok(()), |error| Err(Stop::failed(Exit::Failed, format!("run {id}: {error}"), "order-worker dead list")))
}

/// What would be changed, with what has happened to the orders since.
fn rehearsed(shown: &Shown, selected: &[DeadRow], since: &[Since]) -> Result<(), Stop> {
    match shown.output {
        Format::Json => {
            let with_since = |row: &DeadRow| {
                let mut json = json!(row);
                json["since"] = json!(since.iter().filter(|one| one.id == row.id).collect::<Vec<_>>());
                json
            };
            output::json(&selected.iter().map(with_since).collect::<Vec<_>>())
        }
        Format::Table => {
            show_rows(shown, selected)?;
            told_since::show(since)
        }
    }
}

/// What has become of one run.
async fn told(pool: &PgPool, id: i64, shown: &Shown) -> Result<(), Stop> {
    let runs = bulk::runs(pool, Some(id), 1).await.map_err(roles::refuse)?;
    match (shown.output, runs.as_slice()) {
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
        (_, runs) => show(shown, runs),
    }
}

/// What was selected, in the words of the command line.
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

fn show(shown: &Shown, runs: &[BulkRun]) -> Result<(), Stop> {
    match shown.output {
        Format::Json => output::json(&runs),
        Format::Table => output::table(
            ["run", "asked", "what", "by", "rows", "seen", "done", "outcome", "reason", "error"],
            runs.iter().map(|run| {
                let Bulk { verb, rows, actor, reason, .. } = &run.request.0;
                [
                    run.id.to_string(),
                    output::moment(run.asked_at),
                    verb.as_str().to_owned(),
                    actor.clone(),
                    rows.to_string(),
                    run.seen.to_string(),
                    run.items.to_string(),
                    run.outcome.to_string(),
                    output::dash((!reason.is_empty()).then_some(reason)),
                    output::dash(run.error.as_deref()),
                ]
            }),
        ),
    }
}
