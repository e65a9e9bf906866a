//! `order-worker doctor`.

use std::io::IsTerminal;

use indicatif::ProgressBar;

use super::exit::{Exit, Stop};
use super::output::{self, Format, Output};
use crate::app::config::Config;
use crate::app::doctor::{State, examine};
use crate::platform::database;

pub(super) async fn run(output: &Output, config: &Config) -> Result<(), Stop> {
    let pool = database::connect_for_a_command(config.database_url()?.expose(), &config.worker.database)?;
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new_spinner().with_message("looking")
    } else {
        ProgressBar::hidden()
    };
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let findings = examine(config, &pool).await;
    bar.finish_and_clear();
    match output.format {
        Format::Json => output::json(&findings)?,
        Format::Table => output::table(
            ["", "about", "seen", "next"],
            findings.iter().map(|one| {
                let state = match one.state {
                    State::Ok => "ok",
                    State::Warning => "warning",
                    State::Broken => "BROKEN",
                };
                [state.to_owned(), one.about.to_owned(), one.seen.clone(), one.next.clone()]
            }),
        )?,
    }
    let broken = findings.iter().filter(|one| one.state == State::Broken).count();
    if broken == 0 {
        return Ok(());
    }
    Err(Stop::failed(
        Exit::Violation,
        format!("{broken} things are broken"),
        "do what stands beside each, from the top",
    ))
}
