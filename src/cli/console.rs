//! `order-worker console`.

use std::io::{IsTerminal, Read, Write};

use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Stop};
use super::{output, roles};
use crate::app::config::Config;
use crate::app::pages;
use crate::platform::signals::stop_on_signal;
use crate::platform::telemetry;
use crate::web::console;

/// The console alone, or a command below it.
#[derive(Debug, Args)]
pub struct Console {
    /// A command instead of the console.
    #[command(subcommand)]
    pub command: Option<ConsoleCommand>,
}

/// The commands below `console`.
#[derive(Debug, Subcommand)]
pub enum ConsoleCommand {
    /// Print the hash of a password, for worker.console.users
    ///
    /// The password is read from stdin, up to the end of its first line.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker console hash-password < password.txt\n",
        "  ORDER_WORKER_CONSOLE_USERS=\"ada:operator:$(order-worker console hash-password)\"\n",
        "\n",
        "Exit codes: 0 done, 1 failed, 2 refused",
    ))]
    HashPassword,
}

/// Reads a password and prints its hash; needs no database.
pub(super) fn hash_password() -> Result<(), Stop> {
    if std::io::stdin().is_terminal() {
        // A prompt that cannot be written is no reason not to read.
        let _ = write!(std::io::stderr(), "Password (it is shown): ");
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().take(4096).read_to_string(&mut text);
    read.map_err(|error| Stop::failed(Exit::Failed, format!("cannot read stdin: {error}"), ""))?;
    let password = text.lines().next().unwrap_or_default();
    if password.len() < 8 {
        return Err(Stop::failed(
            Exit::Usage,
            "a password has 8 characters or more",
            "echo it into stdin, or type it and end with Ctrl-D",
        ));
    }
    output::line(&console::hash(password).map_err(|error| Stop::failed(Exit::Failed, error.to_string(), ""))?)
}

/// The console without a worker, until SIGTERM or SIGINT.
pub(super) async fn run(config: &Config) -> Result<(), Stop> {
    let pool = roles::database_of_pages(config).await?;
    let telemetry = telemetry::init(&config.worker.telemetry).map_err(|error| Stop::because(&error, ""))?;
    let addr = &config.worker.console.addr;
    let listener = addr.bind().await.map_err(|error| {
        Stop::failed(
            Exit::Failed,
            format!("cannot listen on worker.console.addr ({addr}): {error}"),
            "set ORDER_WORKER_CONSOLE_ADDR to a free one",
        )
    })?;
    tracing::info!("Console opened: http://{}", addr.opened_at(&listener));
    let (console, stop) = (pages::console(config, pool), CancellationToken::new());
    tokio::spawn(stop_on_signal(stop.clone()));
    pages::start_board(&console, config, &stop).await;
    console.serve(listener, stop).await;
    telemetry.shutdown().await;
    Ok(())
}
