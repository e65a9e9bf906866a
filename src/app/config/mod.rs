//! Configuration: the environment over a file over the defaults, checked before any port opens.
//!
//! `configs/config.yaml` has every default and is the manual; it is built in. Each module owns its part in its `settings.rs`: one list
//! of fields with their rules (`section!`). This module puts the parts together, reads the layers, and keeps for each value where it came
//! from. All layers are checked against the same rules ([`schema`]) before anything is built
//! from them, so a refusal always knows the key, its place and what is allowed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

mod environment;
mod error;
mod file;
mod origin;
pub mod schema;
pub mod service;

pub use environment::{OPERATOR, from_file as secret_in_file};
pub use error::ConfigError;
pub use origin::{Origin, Origins, Setting};

use crate::dapr::{ingress, publish, reconcile};
use crate::engine::inbox;
use crate::engine::queue::settings::Drain;
use crate::platform::settings::key::joined;
use crate::platform::settings::{DatabaseUrl, Key, Rule, section};
use crate::platform::{consul, database, telemetry};
use crate::shop::{self, payments, warehouse};
use crate::web::{admin, board, console};

/// The default configuration and the manual of every key, as YAML.
pub const DEFAULT: &str = include_str!("../../../configs/config.yaml");

section! {
    /// The whole configuration, every value within its limits.
    pub struct Config {
        server: service::Server,
        data: service::Data,
        business: shop::settings::Business,
        external_services: service::ExternalServices,
        worker: Worker,
    }
}

section! {
    /// `worker`: the worker's own settings, each part owned by the module that uses it.
    pub struct Worker {
        database: database::settings::Database,
        eventbus: ingress::settings::EventBus,
        queue: Queue,
        inbox: Inbox,
        cron: shop::jobs::settings::Cron,
        reconcile: reconcile::settings::Reconcile,
        dapr: publish::settings::Dapr,
        warehouse: warehouse::settings::Warehouse,
        admin: admin::settings::Admin,
        console: console::settings::Console,
        board: board::settings::Board,
        telemetry: telemetry::settings::Telemetry,
        shutdown: Shutdown,
        consul: consul::settings::Consul,
    }
}

section! {
    /// `worker.queue`: the queue, and how each of its uses is drained.
    pub struct Queue {
        #[serde(with = "humantime_serde")]
        poll_interval: Duration = Rule::time(Duration::from_millis(10), Duration::from_secs(60)),
        #[serde(with = "humantime_serde")]
        lease: Duration = Rule::time(Duration::from_secs(1), Duration::from_secs(600)),
        inbox: Drain,
        dapr: Drain,
        warehouse: Drain,
    }
}

/// `worker.inbox`: what becomes of the events received.
#[derive(Clone, Debug, Deserialize)]
pub struct Inbox {
    /// The rules for payments.
    #[serde(flatten)]
    pub payments: payments::settings::Payments,
    /// The retention of the inbox.
    #[serde(flatten)]
    pub keep: inbox::settings::Keep,
}

impl Inbox {
    /// The keys of this section.
    pub const KEYS: &[Key] = &joined::<6>(payments::settings::Payments::KEYS, inbox::settings::Keep::KEYS);
}

section! {
    /// `worker.shutdown`: stopping.
    pub struct Shutdown {
        #[serde(with = "humantime_serde")]
        grace: Duration = Rule::time(Duration::from_secs(1), Duration::from_secs(600)),
    }
}

/// A configuration and where each of its values came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Where each value came from, secrets masked.
    pub origins: Origins,
}

/// The sources of a configuration, to read it again.
#[derive(Clone)]
pub struct Layers {
    file: Option<PathBuf>,
    environment: BTreeMap<String, String>,
}

impl Layers {
    /// The file, if there is one, and the whole environment.
    #[must_use]
    pub fn new(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Self {
        Self { file: file.map(Path::to_owned), environment: environment.collect() }
    }

    /// As [`Config::load`].
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        Config::load(self.file.as_deref(), self.environment.clone().into_iter())
    }
}

// The environment holds secrets.
impl std::fmt::Debug for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layers").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Config {
    /// Reads the environment over the file (if there is one) over the defaults. `env` is the whole
    /// environment; what is not this program's is left alone.
    ///
    /// # Errors
    /// The first problem found: of the file, then of the environment, then of values that do not go
    /// together, then a missing database.
    pub fn load(path: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Loaded, ConfigError> {
        let env: BTreeMap<_, _> = env.collect();
        let variable_is_empty = env.get("DATABASE_URL").is_some_and(String::is_empty);
        let loaded = Self::read(path, env.into_iter())?;
        match loaded.config.data.database.source {
            Some(_) => Ok(loaded),
            None => Err(ConfigError::NoDatabase { variable_is_empty }),
        }
    }

    /// As [`Config::load`], for commands that can do without a database.
    ///
    /// # Errors
    /// As [`Config::load`], except for a missing database.
    pub fn read(path: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Loaded, ConfigError> {
        let mut winners = BTreeMap::new();
        let mut lay = |layer: Vec<file::Found>| {
            winners.extend(layer.into_iter().map(|(path, value, origin)| (path, (value, origin))));
        };
        lay(file::values(DEFAULT, |_| Origin::Default)?);
        if let Some(path) = path {
            lay(file::read(path)?);
        }
        lay(environment::read(&env.collect())?);

        let config: Config =
            serde_json::from_value(tree(&winners)).map_err(|error| ConfigError::Bug(error.to_string()))?;
        let origins = Origins::new(winners);
        config.check_together(&origins)?;
        Ok(Loaded { config, origins })
    }

    /// Where the database is.
    ///
    /// # Errors
    /// [`ConfigError::NoDatabase`], never after [`Config::load`].
    pub fn database_url(&self) -> Result<&DatabaseUrl, ConfigError> {
        let missing = ConfigError::NoDatabase { variable_is_empty: false };
        self.data.database.source.as_ref().ok_or(missing)
    }

    /// Refuses values that are allowed alone, but not with each other.
    fn check_together(&self, origins: &Origins) -> Result<(), ConfigError> {
        let Worker { database, queue, inbox, console, board, .. } = &self.worker;
        let rules = [
            (
                database.idle_in_transaction_timeout < queue.lease,
                "worker.database.idle_in_transaction_timeout must be below worker.queue.lease",
                "a worker that fell asleep must lose its transaction before it loses its lanes",
            ),
            (
                database.lock_timeout < database.statement_timeout,
                "worker.database.lock_timeout must be below worker.database.statement_timeout",
                "a wait for a lock is part of its statement and would never reach its own limit",
            ),
            (
                queue.poll_interval < queue.lease,
                "worker.queue.poll_interval must be below worker.queue.lease",
                "lanes would pass to others between two looks at the queue",
            ),
            (
                inbox.keep.keep_keys >= inbox.keep.keep_bodies,
                "worker.inbox.keep_keys must not be below worker.inbox.keep_bodies",
                "an event whose body is kept must still be recognised when it comes again",
            ),
            (
                console.addr.is_loopback() || console.knows_its_users(),
                "worker.console.addr must be a loopback address without worker.console.users",
                "everybody who reaches it could look at orders: name users, or a proxy's worker.console.user_header",
            ),
            (
                board.addr.is_loopback() || console.knows_its_users(),
                "worker.board.addr must be a loopback address without worker.console.users",
                "everybody who reaches it could look at orders: name users, or a proxy's worker.console.user_header",
            ),
        ];
        let Some((_, rule, reason)) = rules.into_iter().find(|(holds, ..)| !holds) else {
            return Ok(());
        };
        // The keys are the first and the last word of the rule.
        let place = |key: Option<&str>| key.and_then(|key| origins.of(key)).cloned().unwrap_or(Origin::Default);
        Err(ConfigError::Conflict {
            rule,
            place: place(rule.split(' ').next()),
            other_place: place(rule.rsplit(' ').next()),
            reason,
        })
    }
}

/// The values as the tree that their paths draw.
fn tree(winners: &BTreeMap<String, (Value, Origin)>) -> Value {
    let mut root = Value::Object(serde_json::Map::new());
    for (path, (value, _)) in winners {
        let mut node = &mut root;
        for part in path.split('.') {
            node = &mut node[part];
        }
        *node = value.clone();
    }
    root
}

#[cfg(test)]
mod tests;
