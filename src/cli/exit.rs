//! The end of the program: exit codes and errors.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use crate::app::config::ConfigError;
use crate::operations;
use crate::platform::database;

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: failed.
    Failed,
    /// 2: the command line or the configuration is refused; nothing has begun.
    Usage,
    /// 3: it was done, and has found a violation.
    Violation,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Violation => 3,
        }
    }
}

/// Why the program ends before its work is done.
#[derive(Debug)]
pub enum Stop {
    /// Help or the version was asked for and is written, or nobody reads any more: no error.
    Quiet,
    /// An error.
    Failed {
        /// The code to exit with.
        exit: Exit,
        /// The problem, on one line.
        message: String,
        /// The next step, on one line; empty: there is none.
        hint: String,
    },
}

impl Stop {
    /// An error; line breaks in its texts are taken out.
    #[must_use]
    pub fn failed(exit: Exit, message: impl AsRef<str>, hint: impl AsRef<str>) -> Self {
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (message, hint) = (one_line(message.as_ref()), one_line(hint.as_ref()));
        Self::Failed { exit, message, hint }
    }

    /// An error with all its causes, exit code 1.
    #[must_use]
    pub fn because(error: &dyn Error, hint: &str) -> Self {
        Self::because_of(Exit::Failed, error, hint)
    }

    /// An error with all its causes.
    #[must_use]
    pub fn because_of(exit: Exit, error: &dyn Error, hint: &str) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_says = cause.to_string();
            // Some errors tell their cause themselves.
            if !message.ends_with(&cause_says) {
                message = format!("{message}: {cause_says}");
            }
            source = cause.source();
        }
        Self::failed(exit, message, hint)
    }
}

impl From<ConfigError> for Stop {
    fn from(error: ConfigError) -> Self {
        Self::failed(Exit::Usage, error.to_string(), error.hint())
    }
}

impl From<operations::Error> for Stop {
    fn from(error: operations::Error) -> Self {
        match error {
            operations::Error::Refused { what, next } => Self::failed(Exit::Failed, what, next),
            operations::Error::Database(error) => error.into(),
        }
    }
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        let error = &error;
        let tls = database::tls_hint(error);
        let hint = if let Some(hint) = &tls {
            hint.as_str()
        } else if database::lacks_rights(error) {
            "run `order-worker migrate` with the owner in MIGRATE_DATABASE_URL and this role in DATABASE_URL"
        } else if let Some(hint) = database::hint(error) {
            hint
        } else if database::class(error) != database::Class::Message {
            "see that Postgres is there, and what DATABASE_URL or data.database.source names; then try again"
        } else {
            ""
        };
        Self::because(error, hint)
    }
}

/// Writes the error, if there is one, and gives the exit code.
#[must_use]
pub fn finish(ended: Result<(), Stop>) -> ExitCode {
    let exit = match ended {
        Ok(()) | Err(Stop::Quiet) => Exit::Done,
        Err(Stop::Failed { exit, message, hint }) => {
            let hint = if hint.is_empty() { String::new() } else { format!("hint: {hint}\n") };
            // When stderr is gone too, the exit code is all that is left to say.
            let _ = write!(std::io::stderr(), "order-worker: error: {message}\n{hint}");
            exit
        }
    };
    ExitCode::from(exit.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer\nline")]
        struct Outer(#[source] std::io::Error);

        let error = Outer(std::io::Error::other("inner"));
        let Stop::Failed { exit, message, hint } = Stop::because(&error, "") else { panic!() };
        assert_eq!((exit.code(), message.as_str(), hint.as_str()), (1, "outer line: inner", ""));
    }
}
