//! The grammar of the command line.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::audit::Audit;
use super::console::Console;
use super::cron::CronCommand;
use super::dead::DeadCommand;
use super::exit::{Exit, Stop};
use super::inbox::InboxCommand;
use super::incident::IncidentCommand;
use super::order::OrderCommand;
use super::outbox::OutboxCommand;
use super::output::Output;
use super::quarantine::QuarantineCommand;
use super::queue::QueueCommand;
use super::{output, single_dash};
use crate::app::worker::Mode;
use crate::engine::queue::Queue;
use crate::operations::{self, QUEUES};

/// The exit codes, below every help.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 a violation was found";

/// A durable outbox/inbox transactional worker: payment events in, order changes once,
/// announcements out.
///
/// Without a command it is the worker. Long flags take one dash or two.
#[derive(Debug, Parser)]
#[command(
    name = "order-worker",
    version = concat!("v", env!("CARGO_PKG_VERSION")),
    subcommand_negates_reqs = true,
    after_long_help = concat!(
        "Examples:\n",
        "  order-worker -conf /app/configs/config.yaml -mode all\n",
        "  DATABASE_URL=postgres://worker:secret@db:5432/orders order-worker -mode event\n",
        "  order-worker migrate -conf config.yaml --dry-run\n",
        "  order-worker config print -conf config.yaml\n",
        "\n",
        "Exit codes:\n",
        "  0  done\n",
        "  1  failed\n",
        "  2  the command line or the configuration is refused\n",
        "  3  a violation was found",
    ),
)]
pub struct Arguments {
    /// The configuration file; without it the defaults and the environment hold
    #[arg(long, global = true, value_name = "FILE")]
    pub conf: Option<PathBuf>,

    /// The worker's mode [default: cron]
    #[arg(long, value_name = "MODE", value_enum)]
    pub mode: Option<Mode>,

    /// A command instead of the worker.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A command instead of the worker.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it in a process")]
pub enum Command {
    /// Create or update the worker's tables
    ///
    /// Goes to MIGRATE_DATABASE_URL, or else to the database of the worker (DATABASE_URL or
    /// data.database.source). Safe when two run at once.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  DATABASE_URL=postgres://owner:secret@db:5432/orders order-worker migrate\n",
        "  order-worker migrate -conf config.yaml --dry-run\n",
        "\n",
        "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 a violation was found",
    ))]
    Migrate(Migrate),

    /// Run the operators' console alone, without a worker
    ///
    /// Pages over what the commands show and do, on worker.console.addr. A worker serves the same by itself.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker console\n",
        "  ORDER_WORKER_CONSOLE_ADDR=127.0.0.1:9000 order-worker console\n",
        "  order-worker console hash-password < password.txt\n",
        "\n",
        "Exit codes: 0 stopped, 1 failed, 2 refused",
    ))]
    Console(Console),

    /// A command of operators, on the database of the configuration.
    #[command(flatten)]
    Operation(Operation),

    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Commands of operators: looking, mending, proving.
#[derive(Debug, Subcommand)]
pub enum Operation {
    /// List, run, pause and resume the jobs
    #[command(subcommand)]
    Cron(CronCommand),

    /// Look at events that came in, and decide about held ones
    #[command(subcommand)]
    Inbox(InboxCommand),

    /// Look at announcements and calls, and send them again
    #[command(subcommand)]
    Outbox(OutboxCommand),

    /// Look at dead rows, try them again, mend or skip them
    #[command(subcommand)]
    Dead(DeadCommand),

    /// Decide about events whose id came before with another body
    #[command(subcommand)]
    Quarantine(QuarantineCommand),

    /// Look at what a person has to look at, and resolve it
    #[command(subcommand)]
    Incident(IncidentCommand),

    /// Tell an order's whole story
    #[command(subcommand)]
    Order(OrderCommand),

    /// Check everything that the worker needs, with the next step for each problem
    ///
    /// Database, schema, rights, settings, workers, lanes, partitions, backlog, jobs, Redis, sidecar, component, subscriptions,
    /// warehouse, clocks: each is ok, a warning or broken, with the next step.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker doctor\n",
        "  order-worker doctor -o json | jq '.[] | select(.state != \"ok\")'\n",
        "\n",
        "Exit codes: 0 nothing is broken, 1 failed, 2 refused, 3 something is broken",
    ))]
    Doctor(Output),

    /// Prove that nothing was lost or done twice; who did what
    ///
    /// Without a command: the conservation proof. Every accepted event has one end, every change one announcement, every
    /// announcement a cause; whatever breaks a rule is listed with the command that mends it.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker audit\n",
        "  order-worker audit --since 2d -o json\n",
        "  order-worker audit exposure --since 1d\n",
        "  order-worker audit log --verify\n",
        "\n",
        "Exit codes: 0 every rule holds, 1 failed, 2 refused, 3 a violation was found",
    ))]
    Audit(Audit),

    /// List, pause and resume the queues
    #[command(subcommand)]
    Queue(QueueCommand),
}

/// The flags of `migrate`.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// The commands below `config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read the configuration as the worker does, and say whether it is fit to run
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker config check -conf /app/configs/config.yaml\n",
        "\n",
        "Exit codes: 0 fit to run, 2 refused",
    ))]
    Check(Output),

    /// Show every value and where it came from; secrets are masked
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker config print\n",
        "  order-worker config print -conf config.yaml -o json\n",
        "  order-worker config print --default > config.yaml\n",
        "\n",
        "With -o json each value also has the name of the variable that overrides it.\n",
        "\n",
        "Exit codes: 0 done, 2 refused",
    ))]
    Print(Print),
}

/// The flags of `config print`.
#[derive(Debug, Args)]
pub struct Print {
    /// Print the default file instead, which explains every key
    #[arg(long, conflicts_with_all = ["conf", "output"])]
    pub default: bool,

    /// The form of the values.
    #[command(flatten)]
    pub output: Output,
}

pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Arguments, Stop> {
    let mut command = completed(Arguments::command());
    command.build();
    let args = single_dash::normalised(args, &command);
    let parsed = command.try_get_matches_from_mut(args).and_then(|matches| Arguments::from_arg_matches(&matches));
    match parsed {
        Ok(Arguments { mode: Some(_), command: Some(_), .. }) => Err(Stop::failed(
            Exit::Usage,
            "-mode belongs to the worker, which runs without a command",
            "leave out -mode or the command",
        )),
        Ok(arguments) => Ok(arguments),
        Err(error) => Err(refused(&error)),
    }
}

/// Completes every command: the exit codes below the short help too, no `help` beside `--help`, and a command that is missing
/// is an error in two lines, not a page of help.
fn completed(command: clap::Command) -> clap::Command {
    let command = command.after_help(EXIT_CODES).mut_subcommands(completed);
    if command.has_subcommands() {
        command.arg_required_else_help(false).disable_help_subcommand(true)
    } else {
        command
    }
}

/// Writes the help or the version that was asked for, or puts clap's answer into our two lines.
fn refused(error: &clap::Error) -> Stop {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let written = output::write(|out| write!(out, "{}", error.render()));
        return written.err().unwrap_or(Stop::Quiet);
    }
    // "error: what is wrong\n  [possible values: …]\n\n  tip: …\n\nUsage: …"
    let text = error.render().to_string();
    let what = text.split("\n\n").next().unwrap_or(&text);
    let what = what.strip_prefix("error: ").unwrap_or(what);
    let hint = match suggestion(error) {
        Some(name) => format!("did you mean {name}?"),
        None => "order-worker --help".to_owned(),
    };
    Stop::failed(Exit::Usage, what, hint)
}

fn suggestion(error: &clap::Error) -> Option<String> {
    use ContextKind::{SuggestedArg, SuggestedSubcommand, SuggestedValue};
    [SuggestedValue, SuggestedSubcommand, SuggestedArg].into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(name) => Some(name.clone()),
        ContextValue::Strings(names) => names.first().cloned(),
        _ => None,
    })
}

/// Reads the name of a queue.
pub(super) fn queue() -> impl TypedValueParser<Value = Queue> {
    PossibleValuesParser::new(QUEUES.map(Queue::as_str))
        .try_map(|name| operations::queue(&name).ok_or_else(|| format!("unknown queue {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;

    fn read(args: &[&str]) -> Result<Arguments, Stop> {
        parse(std::iter::once("order-worker").chain(args.iter().copied()).map(OsString::from))
    }

    fn refusal(args: &[&str]) -> (String, String) {
        match read(args) {
            Err(Stop::Failed { exit: Exit::Usage, message, hint }) => (message, hint),
            other => panic!("{args:?}: {other:?}"),
        }
    }

    #[test]
    fn clap_finds_nothing_wrong_with_the_definition() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_that_does_something_has_examples_and_exit_codes_in_its_help() {
        fn look(command: &mut clap::Command, path: &str, without: &mut Vec<String>) {
            let own =
                command.get_subcommands().next().is_none() || path.ends_with(" audit") || path.ends_with(" console");
            let help = command.render_long_help().to_string();
            if own && !(help.contains("Examples:") && help.contains("Exit codes:") && help.contains("order-worker ")) {
                without.push(path.to_owned());
            }
            let names: Vec<String> = command.get_subcommands().map(|one| one.get_name().to_owned()).collect();
            for name in names {
                let path = format!("{path} {name}");
                look(command.find_subcommand_mut(&name).unwrap(), &path, without);
            }
        }
        let mut command = completed(Arguments::command());
        command.build();
        let mut without = Vec::new();
        look(&mut command, "order-worker", &mut without);
        assert_eq!(without, [""; 0]);
    }

    #[test]
    fn one_dash_and_two_are_the_same() {
        for args in [
            ["-conf", "c.yaml", "-mode", "all"].as_slice(),
            &["--conf", "c.yaml", "--mode", "all"],
            &["-conf=c.yaml", "-mode=all"],
            &["--mode=all", "-conf", "c.yaml"],
        ] {
            let arguments = read(args).unwrap();
            assert_eq!(arguments.conf.as_deref(), Some("c.yaml".as_ref()), "{args:?}");
            assert_eq!(arguments.mode, Some(Mode::All), "{args:?}");
        }
        assert_eq!(read(&[]).unwrap().mode, None);
    }

    #[test]
    fn the_file_may_be_named_before_or_behind_the_command() {
        for args in [["-conf", "c", "config", "check"], ["config", "check", "-conf", "c"]] {
            assert_eq!(read(&args).unwrap().conf.as_deref(), Some("c".as_ref()), "{args:?}");
        }
        let dry = read(&["migrate", "-dry-run"]).unwrap();
        assert!(matches!(dry.command, Some(Command::Migrate(Migrate { dry_run: true }))));
        for args in [["config", "print", "-o", "json"], ["config", "print", "-output", "json"]] {
            let Some(Command::Config(ConfigCommand::Print(print))) = read(&args).unwrap().command else {
                panic!("{args:?}")
            };
            assert_eq!(print.output.format, Format::Json);
        }
    }

    #[test]
    fn a_wrong_command_line_is_refused_in_two_lines() {
        let (message, hint) = refusal(&["-mode", "both"]);
        for mode in ["both", "cron", "event", "all"] {
            assert!(message.contains(mode), "{message}");
        }
        assert!(!message.contains('\n') && !hint.contains('\n'));
        assert_eq!(refusal(&["-mode", "evnt"]).1, "did you mean event?");
        assert_eq!(refusal(&["migrte"]).1, "did you mean migrate?");
        assert_eq!(refusal(&["--cnof", "x"]).1, "did you mean --conf?");
        assert!(refusal(&["config"]).0.contains("check, print"));
        assert!(refusal(&["-conf"]).0.contains("--conf <FILE>"));
        assert!(refusal(&["-mode", "all", "migrate"]).0.contains("belongs to the worker"));
        refusal(&["-conf", "a", "-conf", "b"]);
        refusal(&["stray"]);
        refusal(&["-x"]);
    }
}
