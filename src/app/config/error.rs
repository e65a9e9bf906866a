//! Why a configuration is refused: one problem, its place, what is allowed, the way out.

use serde_json::Value;

use super::file;
use super::origin::Origin;
use crate::platform::settings::Rule;
use crate::platform::settings::rule::Refusal;

/// Where to read what a key does; needs no configuration that works.
const MANUAL: &str = "`order-worker config print --default` explains every key";

/// A configuration that cannot be used. `Display` is one line that names the key and its place and
/// contains no secret; [`ConfigError::hint`] is the way out. Nothing but a changed configuration
/// helps: the reaction is to stop (exit code 2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration file {file}: {reason}")]
    Unreadable {
        /// The file as it was named.
        file: String,
        /// The error of the system.
        reason: String,
    },
    /// The file is not YAML, or holds a key twice.
    #[error("{place}: {reason}")]
    NotYaml {
        /// The file and its line.
        place: Origin,
        /// The error of the parser.
        reason: String,
    },
    /// A key that means nothing.
    #[error("{key} is no key ({place})")]
    UnknownKey {
        /// The path as written.
        key: String,
        /// The file and its line.
        place: Origin,
        /// The key that was probably meant.
        nearest: Option<String>,
        /// The keys there are in that section.
        known: Vec<&'static str>,
    },
    /// An `ORDER_` variable that belongs to no key.
    #[error("{name} is the variable of no key{} (environment)", section_note(section.as_deref()))]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The variable that was probably meant.
        nearest: Option<String>,
        /// The section that the name stands for, if it stands for one.
        section: Option<String>,
    },
    /// A section that was given a value.
    #[error("{key} is a section, not a value ({place})")]
    NotASection {
        /// The path of the section.
        key: String,
        /// The file and its line.
        place: Origin,
        /// The keys there are in it.
        known: Vec<&'static str>,
    },
    /// A value that was given keys or a list.
    #[error("{key} is one value, not a list or a section; allowed: {allowed} ({place})")]
    NotAValue {
        /// The path of the key.
        key: String,
        /// The file and its line.
        place: Origin,
        /// The allowed values.
        allowed: String,
    },
    /// A value outside what its key allows.
    #[error("{key}: {refusal}; allowed: {allowed} ({place})")]
    Value {
        /// The path of the key.
        key: String,
        /// Where the value came from.
        place: Origin,
        /// The value, masked if it is a secret, and what is wrong with it.
        refusal: String,
        /// The allowed values.
        allowed: String,
    },
    /// Two values that do not go together.
    #[error("{rule} ({place}; {other_place})")]
    Conflict {
        /// The broken rule: both keys, the refused one first.
        rule: &'static str,
        /// Where the value of the first came from.
        place: Origin,
        /// Where the value of the other came from.
        other_place: Origin,
        /// Why the two hang together.
        reason: &'static str,
    },
    /// A file that a secret was to be read from.
    #[error("{variable}: {reason} (environment)")]
    SecretFile {
        /// The variable that names the file.
        variable: String,
        /// The fault; nothing of what the file holds.
        reason: String,
    },
    /// No database is named.
    #[error("data.database.source is missing: no database is named")]
    NoDatabase {
        /// Whether `DATABASE_URL` is there, but empty.
        variable_is_empty: bool,
    },
    /// The values are allowed one by one, and yet no configuration can be made of them: a bug.
    #[error("the configuration does not fit together: {0}")]
    Bug(String),
}

impl ConfigError {
    pub(super) fn value(key: &str, place: &Origin, refusal: Refusal, rule: &Rule) -> Self {
        Self::Value {
            key: key.to_owned(),
            place: place.clone(),
            refusal: match refusal.reason {
                Some(reason) => format!("{} is not allowed, {reason}", refusal.given),
                None => format!("{} is not allowed", refusal.given),
            },
            allowed: rule.allowed(),
        }
    }

    /// The way out, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable { .. } => {
                "-conf names a YAML file; without -conf the defaults and the environment hold".to_owned()
            }
            Self::NotYaml { .. } => {
                format!("the file is YAML, each key once: {MANUAL}")
            }
            Self::UnknownKey { nearest: Some(nearest), .. } | Self::UnknownVariable { nearest: Some(nearest), .. } => {
                format!("did you mean {nearest}?")
            }
            Self::UnknownKey { known, .. } => format!("the keys here are {}", known.join(", ")),
            Self::UnknownVariable { .. } => MANUAL.to_owned(),
            Self::NotASection { known, .. } => {
                format!("indent its keys below it: {}", known.join(", "))
            }
            Self::Conflict { reason, .. } => (*reason).to_owned(),
            Self::SecretFile { variable, .. } => {
                format!(
                    "{variable} names a readable file that holds the secret alone, in the place of the variable without _FILE"
                )
            }
            Self::NoDatabase { variable_is_empty: true } => {
                "DATABASE_URL is set, but empty; it holds postgres://user:password@host:5432/database".to_owned()
            }
            Self::NoDatabase { variable_is_empty: false } => {
                "set DATABASE_URL=postgres://user:password@host:5432/database".to_owned()
            }
            Self::NotAValue { key, .. } | Self::Value { key, .. } => match default_of(key) {
                Some(default) => format!("the default is {default}; {MANUAL}"),
                None => MANUAL.to_owned(),
            },
            Self::Bug(_) => "please report this with the keys that you set".to_owned(),
        }
    }
}

/// The default of the key, unless that is empty.
fn default_of(key: &str) -> Option<String> {
    let defaults = file::values(super::DEFAULT, |_| Origin::Default).ok()?;
    match defaults.into_iter().find(|(path, ..)| path == key)? {
        (_, Value::String(text), _) => Some(text).filter(|text| !text.is_empty()),
        (_, value, _) => Some(value.to_string()),
    }
}

fn section_note(section: Option<&str>) -> String {
    section.map_or_else(String::new, |path| format!(": {path} is a section"))
}
