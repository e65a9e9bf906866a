//! The command line: one binary, whose subcommand picks the role; without one it is the worker.
//!
//! The configuration is read and checked before anything else happens. Exit codes: 0 done, 1
//! failed, 2 usage or configuration, 3 a violation was found. Errors are one line on stderr,
//! `order-worker: error: …`, and a `hint:` line below it.

mod args;
mod audit;
mod bulk;
mod change;
mod changes_since;
mod configuration;
mod console;
mod cron;
mod dead;
mod doctor;
mod events;
mod exit;
mod inbox;
mod incident;
mod migrate;
mod operator;
mod order;
mod outbox;
mod output;
mod pause;
mod quarantine;
mod queue;
mod reconcile;
mod replay;
mod roles;
mod runs;
mod single_dash;
mod waiting;

use std::ffi::OsString;

pub use args::{Arguments, Command, Operation};
pub use exit::{Exit, Stop, finish};

use console::{Console, ConsoleCommand};

use crate::app::config::{Config, Layers};

/// Reads the command line; `args` begins with the program's name.
///
/// # Errors
/// [`Stop::Quiet`] when help or the version was asked for and has been written,
/// [`Stop::Failed`] with [`Exit::Usage`] when the command line is refused.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Arguments, Stop> {
    args::parse(args)
}

/// Does what the command line asks for. `env` is the whole environment.
///
/// # Errors
/// [`Stop::Failed`] with the problem, the next step and the exit code.
pub fn run(arguments: Arguments, env: impl Iterator<Item = (String, String)>) -> Result<(), Stop> {
    let conf = arguments.conf.as_deref();
    match arguments.command {
        None => {
            let layers = Layers::new(conf, env);
            let config = layers.load()?.config;
            roles::block_on(roles::work(config, layers, arguments.mode.unwrap_or_default()))
        }
        Some(Command::Migrate(migrate)) => migrate::run(&migrate, conf, env),
        Some(Command::Config(command)) => configuration::run(&command, conf, env),
        Some(Command::Console(Console { command: Some(ConsoleCommand::HashPassword) })) => console::hash_password(),
        Some(Command::Console(Console { command: None })) => {
            roles::block_on(console::run(&Config::load(conf, env)?.config))
        }
        Some(Command::Operation(operation)) => roles::block_on(operate(operation, &Config::load(conf, env)?.config)),
    }
}

async fn operate(operation: Operation, config: &Config) -> Result<(), Stop> {
    match operation {
        Operation::Inbox(command) => inbox::run(&command, config).await,
        Operation::Outbox(command) => outbox::run(&command, config).await,
        Operation::Dead(command) => dead::run(&command, config).await,
        Operation::Quarantine(command) => quarantine::run(&command, config).await,
        Operation::Incident(command) => incident::run(&command, config).await,
        Operation::Order(command) => order::run(&command, config).await,
        Operation::Queue(command) => queue::run(&command, config).await,
        Operation::Cron(command) => cron::run(&command, config).await,
        Operation::Doctor(output) => doctor::run(&output, config).await,
        Operation::Audit(audit) => audit::run(&audit, config).await,
    }
}
