//! `order-worker audit`.

use std::collections::BTreeMap;
use std::io::Write;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use serde_json::json;

use super::exit::{Exit, Stop};
use super::output::{self, Format, Output};
use super::roles;
use crate::app::config::Config;
use crate::operations::{Moment, Window, log, proof};
use crate::platform::database::PgPool;

/// Violations that are shown one by one; of more only the number is told.
const SHOWN: usize = 1_000;

/// The flags of `audit`, and the commands below it.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Audit {
    /// Only days from this on
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Moment>,

    /// The form of the result.
    #[command(flatten)]
    pub output: Output,

    /// A command instead of the proof.
    #[command(subcommand)]
    pub command: Option<AuditCommand>,
}

/// The commands below `audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List announcements and calls that may have been sent more than once
    ///
    /// They were in hand when their worker died. For the owners of the consumers: by its id they know a repetition.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker audit exposure --since 1d\n",
        "\n",
        "Exit codes: 0 done, 1 failed, 2 refused",
    ))]
    Exposure(Newest),

    /// Show who did what and why, the newest first
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker audit log --since 7d\n",
        "  order-worker audit log --verify\n",
        "\n",
        "--verify follows the chain of hashes through the whole log: a record that was changed or taken out shows.\n",
        "\n",
        "Exit codes: 0 done, 1 failed, 2 refused, 3 the chain is broken",
    ))]
    Log(Log),
}

/// The newest rows of a list.
#[derive(Debug, Args)]
pub struct Newest {
    /// From when on
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Moment>,

    /// The most rows shown: 1 to 10000
    #[arg(long, value_name = "ROWS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,

    /// The form of the list.
    #[command(flatten)]
    pub output: Output,
}

/// The log, or its proof.
#[derive(Debug, Args)]
pub struct Log {
    /// Prove that nothing was changed or taken out
    #[arg(long)]
    pub verify: bool,

    /// Which records.
    #[command(flatten)]
    pub newest: Newest,
}

pub(super) async fn run(audit: &Audit, config: &Config) -> Result<(), Stop> {
    let pool = roles::database(config).await?;
    match &audit.command {
        None => prove(&pool, audit).await,
        Some(AuditCommand::Exposure(newest)) => exposure(&pool, newest).await,
        Some(AuditCommand::Log(Log { verify: true, newest })) => verify(&pool, &newest.output).await,
        Some(AuditCommand::Log(Log { newest, .. })) => log(&pool, newest).await,
    }
}

async fn prove(pool: &PgPool, audit: &Audit) -> Result<(), Stop> {
    let since = resolve(pool, audit.since).await?.map(|since| since.date_naive());
    let days = proof::days(pool, since).await?;
    let bar = ProgressBar::new((days.len() * proof::CHECKS.len()) as u64).with_message("checks");
    let (mut counts, mut shown) = (BTreeMap::new(), Vec::new());
    for day in &days {
        for check in proof::CHECKS {
            let count = counts.entry(check.name).or_insert(0_u64);
            let found = |violation| {
                *count += 1;
                if shown.len() < SHOWN {
                    shown.push(violation);
                }
            };
            proof::check(pool, check, *day, found).await?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let total: u64 = counts.values().sum();
    // What was found is said in any case: whoever may only read proves it as well.
    if let Err(error) = proof::record(pool, since, days.len(), total).await {
        let _ = writeln!(
            std::io::stderr(),
            "order-worker: the proof is not written down, so no metric tells of it: {error}"
        );
    }
    match audit.output.format {
        Format::Json => {
            let checks: Vec<_> = proof::CHECKS
                .iter()
                .map(|check| json!({ "check": check.name, "rule": check.rule, "violations": counts.get(check.name).unwrap_or(&0) }))
                .collect();
            output::json(&json!({ "days": days.len(), "violations": total, "checks": checks, "shown": shown }))?;
        }
        Format::Table => {
            output::table(
                ["check", "violations", "rule"],
                proof::CHECKS.iter().map(|check| {
                    let count = counts.get(check.name).unwrap_or(&0);
                    [check.name.to_owned(), count.to_string(), check.rule.to_owned()]
                }),
            )?;
            if !shown.is_empty() {
                output::blank()?;
                output::table(
                    ["check", "subject", "what is wrong", "next"],
                    shown
                        .iter()
                        .map(|one| [one.check.to_owned(), one.subject.clone(), one.detail.clone(), one.mend.clone()]),
                )?;
            }
        }
    }
    if total == 0 {
        return Ok(());
    }
    let message = format!("{total} violations in {} days", days.len());
    Err(Stop::failed(Exit::Violation, message, "each line names the command that shows or mends it"))
}

async fn exposure(pool: &PgPool, newest: &Newest) -> Result<(), Stop> {
    let since = resolve(pool, newest.since).await?;
    output::list(&newest.output, &log::exposed(pool, since, newest.limit).await?)
}

async fn log(pool: &PgPool, newest: &Newest) -> Result<(), Stop> {
    let since = resolve(pool, newest.since).await?;
    output::list(&newest.output, &log::list(pool, since, None, newest.limit).await?)
}

async fn resolve(pool: &PgPool, since: Option<Moment>) -> Result<Option<DateTime<Utc>>, Stop> {
    Ok(Window::between(pool, since, None).await?.since)
}

async fn verify(pool: &PgPool, output: &Output) -> Result<(), Stop> {
    let broken = log::verify(pool).await?;
    match output.format {
        Format::Json => output::json(&json!({ "whole": broken.is_empty(), "broken": broken }))?,
        Format::Table if broken.is_empty() => output::line("the chain is whole: no record was changed or taken out")?,
        Format::Table => {
            output::table(
                ["record", "what is wrong"],
                broken.iter().map(|one| [one.id.to_string(), one.wrong.clone()]),
            )?;
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    let message = format!("the audit log is broken at {} places", broken.len());
    Err(Stop::failed(
        Exit::Violation,
        message,
        "compare it with a backup: somebody with the owner's rights has changed it",
    ))
}
