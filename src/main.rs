//! The `order-worker` binary: picks a role.

use std::process::ExitCode;

use order_worker::cli;

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    order_worker::failpoint::arm();
    // A variable that is not Unicode is not ours, and must not end the program.
    let env = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
    cli::finish(cli::parse(std::env::args_os()).and_then(|arguments| cli::run(arguments, env)))
}
