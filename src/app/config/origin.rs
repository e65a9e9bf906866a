//! Where each value came from.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::environment;
use super::schema;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The default that is built in.
    Default,
    /// A line of the file.
    File {
        /// The file as it was named.
        file: String,
        /// The line, from 1.
        line: u64,
    },
    /// A variable of the environment.
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "file {file}:{line}"),
            Self::Environment(name) => write!(f, "environment {name}"),
        }
    }
}

/// One value as it may be shown.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The path of its key, with dots.
    pub key: String,
    /// The value: a number or a text; secrets masked.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
    /// The `ORDER_` variable that would override it.
    pub variable: String,
}

/// Every value in force, as it may be shown, and where it came from; in the order of the default
/// file.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<Setting>);

impl Origins {
    /// Masks what must not be shown and puts the values in order.
    pub(super) fn new(mut winners: BTreeMap<String, (Value, Origin)>) -> Self {
        let settings = schema::values().into_iter().filter_map(|(key, rule)| {
            let (value, origin) = winners.remove(&key)?;
            let variable = environment::variable(&key);
            Some(Setting { value: rule.shown(&value), key, origin, variable })
        });
        Self(settings.collect())
    }

    /// Every value, in the order of the default file.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.0.iter()
    }

    /// Where the value of `key` (a path with dots) came from; `None` when there is no such key.
    #[must_use]
    pub fn of(&self, key: &str) -> Option<&Origin> {
        self.0.iter().find(|setting| setting.key == key).map(|setting| &setting.origin)
    }
}
