//! Secrets that change while the worker runs.
//!
//! Whoever rotates a secret writes it into the file that it is read from (`…_FILE`, or the file of `-conf`); Kubernetes does the same
//! with a mounted Secret. The configuration is read again as it was at start, and only what can change without a restart is taken
//! from it. A configuration that is refused now changes nothing: the worker goes on with what it has, and says so.

use std::time::Duration;

use tokio::sync::watch;

use crate::app::config::{Config, ConfigError, Layers};
use crate::platform::database::{self, PgPool};
use crate::platform::settings::{DatabaseUrl, Secret};
use crate::platform::telemetry::LogOnce;
use crate::web::console::Console;

const EVERY: Duration = Duration::from_secs(10);

/// Why a changed configuration is not taken.
#[derive(Debug, thiserror::Error)]
enum RenewalError {
    /// It is refused as a whole.
    #[error("{0}")]
    Refused(#[from] ConfigError),
    /// Its database URL cannot be connected by.
    #[error("{0}")]
    Database(#[from] sqlx::Error),
}

/// The parts that take a new secret.
pub(super) struct Renewal {
    pub layers: Layers,
    pub config: Config,
    pub pool: PgPool,
    pub pages: PgPool,
    pub app_token: watch::Sender<Option<Secret>>,
    pub console: Console,
}

impl Renewal {
    /// Looks for ever.
    pub(super) async fn keep(mut self) {
        let mut trouble = LogOnce::default();
        loop {
            tokio::time::sleep(EVERY).await;
            let layers = self.layers.clone();
            // Files may hang, as those of a network do.
            let Ok(loaded) = tokio::task::spawn_blocking(move || layers.load()).await else { continue };
            match loaded.map_err(RenewalError::from).and_then(|loaded| self.take(loaded.config)) {
                Ok(()) => {
                    trouble.is_over();
                }
                Err(error) => {
                    let refused = error.to_string();
                    if trouble.is_new(refused.clone()) {
                        tracing::warn!(
                            "The configuration as it is now is refused, the worker goes on with what it has: error={refused}"
                        );
                    }
                }
            }
        }
    }

    fn take(&mut self, new: Config) -> Result<(), RenewalError> {
        if let Some(url) = new.data.database.source.filter(|url| self.config.data.database.source.as_ref() != Some(url))
        {
            self.connect_by(&url)?;
            self.config.data.database.source = Some(url);
            tracing::info!("A new data.database.source: new connections are made by it");
        }
        let eventbus = &mut self.config.worker.eventbus;
        if new.worker.eventbus.app_token != eventbus.app_token {
            eventbus.app_token = new.worker.eventbus.app_token;
            self.app_token.send_replace(eventbus.app_token.clone());
            tracing::info!("A new worker.eventbus.app_token is asked for");
        }
        let console = &mut self.config.worker.console;
        // Whether there are users at all decides what the console shows, and to whom: that takes a restart.
        if new.worker.console.users != console.users && new.worker.console.users.is_some() && console.users.is_some() {
            console.users = new.worker.console.users;
            self.console.set_users(console.users.as_ref());
            tracing::info!("New worker.console.users: who is not among them any more is logged out");
        }
        Ok(())
    }

    /// Connections that are open stay: Postgres asked for the password when they were made. They end with their lifetime.
    fn connect_by(&self, url: &DatabaseUrl) -> Result<(), sqlx::Error> {
        let settings = &self.config.worker.database;
        self.pool.set_connect_options(database::worker_options(url.expose(), settings)?);
        self.pages.set_connect_options(database::pages_options(url.expose(), settings)?);
        Ok(())
    }
}
