//! Who gives a command: a person, whose name stands in the audit log.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;

use super::exit::{Exit, Stop};
use crate::app::config::OPERATOR;

/// The longest name, in characters.
const LONGEST: usize = 100;
/// Names that say which account it is, and not who uses it.
const NOBODY: [&str; 5] = ["root", "unknown", "nobody", "admin", "operator"];

/// Who gives the command.
#[derive(Clone, Debug, Args)]
pub struct Operator {
    /// Who you are: stands in the audit log; without it ORDER_WORKER_OPERATOR says so
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
}

impl Operator {
    /// The person's name: as it was given, or typed by somebody at a terminal. A rehearsal, which leaves no record, needs none.
    pub(super) fn person(&self, dry_run: bool) -> Result<String, Stop> {
        let given = self.name.clone().or_else(|| std::env::var(OPERATOR).ok()).filter(|name| !name.trim().is_empty());
        match given {
            Some(name) => checked(&name),
            None if dry_run => Ok("nobody".to_owned()),
            None => checked(&asked()?),
        }
    }
}

fn refused(message: &str) -> Stop {
    Stop::failed(Exit::Usage, message, format!("add --as NAME with your own name, or set {OPERATOR}"))
}

fn asked() -> Result<String, Stop> {
    let nobody = || refused("nothing says who you are, and the audit log names a person");
    if !std::io::stdin().is_terminal() {
        return Err(nobody());
    }
    let mut answer = String::new();
    let asked = write!(std::io::stderr(), "Your name, for the audit log: ")
        .and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    if asked.is_err() || answer.trim().is_empty() { Err(nobody()) } else { Ok(answer) }
}

fn checked(name: &str) -> Result<String, Stop> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > LONGEST || name.contains(char::is_control) {
        return Err(refused(&format!("a name has 1 to {LONGEST} characters, and none that cannot be seen")));
    }
    if NOBODY.contains(&name.to_lowercase().as_str()) {
        return Err(refused(&format!("{name} is an account and no person")));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_persons() {
        assert_eq!(checked(" Ada Lovelace ").unwrap(), "Ada Lovelace");
        for wrong in ["", "  ", "root", "Admin", "a\nb", &"x".repeat(101)] {
            let Err(Stop::Failed { exit: Exit::Usage, hint, .. }) = checked(wrong) else { unreachable!("{wrong}") };
            assert!(hint.contains("--as NAME"), "{hint}");
        }
    }
}
