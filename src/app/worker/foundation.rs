//! The foundation of a worker: the configuration, the pools, the connections, and what is there before anything is awaited.

use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;

use super::renewal::Renewal;
use super::{Mode, WorkerError};
use crate::app::Metrics;
use crate::app::config::{Config, Layers};
use crate::app::health::Probe;
use crate::app::pages;
use crate::app::runs::topics;
use crate::app::schema::{SchemaState, schema_state};
use crate::dapr::broker;
use crate::engine::queue::Wake;
use crate::operations::QUEUES;
use crate::platform::connection::connection;
use crate::platform::consul;
use crate::platform::database::{self, PgPool};
use crate::platform::health::Condition;
use crate::platform::settings::{ListenAddr, Secret};
use crate::web::admin::{self, Health, Reporter, Subscriptions};
use crate::web::console::Console;

/// The foundation of a worker.
#[derive(Debug)]
pub(super) struct Foundation {
    pub(super) config: Config,
    pub(super) mode: Mode,
    pub(super) metrics: Metrics,
    pub(super) pool: PgPool,
    /// Of the console and the board.
    pub(super) pages: PgPool,
    pub(super) wake: Wake,
    pub(super) sidecar: Channel,
    pub(super) sidecar_token: Option<AsciiMetadataValue>,
    pub(super) consul: Option<consul::Client>,
    pub(super) app_token: watch::Sender<Option<Secret>>,
    pub(super) health: Health,
    /// The worker's own condition, for `/readyz`.
    pub(super) condition: watch::Sender<Condition>,
    console: Console,
}

impl Foundation {
    /// Lays it; opens nothing. The reporter is the probe's.
    pub(super) fn new(config: Config, mode: Mode, metrics: Metrics) -> Result<(Self, Reporter), WorkerError> {
        let url = config.database_url().map_err(|error| WorkerError::Configuration(error.to_string()))?;
        let pool = database::connect(url.expose(), &config.worker.database)?;
        let pages = database::connect_for_pages(url.expose(), &config.worker.database)?;
        let (reporter, health) = Health::unknown();
        let condition = reporter.worker.clone();
        condition.send_replace(Condition::bad("starting"));
        let sidecar = connection(&config.worker.dapr.grpc_endpoint)?;
        let token = config.worker.dapr.api_token.as_ref().map(|token| token.expose().parse()).transpose();
        let sidecar_token = token
            .map_err(|_| WorkerError::Configuration("DAPR_API_TOKEN has characters that no header may have".into()))?;
        let consul = consul::Client::new(&config.worker.consul, metrics.process.clone())
            .map_err(|error| WorkerError::Configuration(error.to_string()))?;
        let app_token = watch::Sender::new(config.worker.eventbus.app_token.clone());
        let console = pages::console(&config, pages.clone());
        let wake = Wake::new(&QUEUES);
        let foundation = Self {
            config,
            mode,
            metrics,
            pool,
            pages,
            wake,
            sidecar,
            sidecar_token,
            consul,
            app_token,
            health,
            condition,
            console,
        };
        Ok((foundation, reporter))
    }

    /// Takes secrets that change, until `stop`.
    pub(super) fn start_renewal(&self, layers: Layers, stop: &CancellationToken) {
        let renewal = Renewal {
            layers,
            config: self.config.clone(),
            pool: self.pool.clone(),
            pages: self.pages.clone(),
            app_token: self.app_token.clone(),
            console: self.console.clone(),
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(renewal.keep()));
    }

    /// Health and metrics are there before anything is awaited.
    pub(super) async fn start_admin(&self, reporter: Reporter, stop: &CancellationToken) -> Result<(), WorkerError> {
        let listener = bind("worker.admin.addr", &self.config.worker.admin.addr).await?;
        let subscriptions = if self.mode.consumes_events() {
            Subscriptions::to(&self.config.worker.eventbus.pubsub, &topics(&self.config).events)
        } else {
            Subscriptions::none()
        };
        let state = admin::State { health: self.health.clone(), metrics: self.metrics.process.clone(), subscriptions };
        tokio::spawn(admin::serve(listener, state, stop.clone()));
        tokio::spawn(self.probe()?.run(reporter, stop.clone()));
        Ok(())
    }

    fn probe(&self) -> Result<Probe<impl Fn() -> BoxFuture<'static, Condition> + use<>>, WorkerError> {
        let pool = self.pool.clone();
        let schema = move || -> BoxFuture<'static, Condition> {
            let pool = pool.clone();
            Box::pin(async move {
                match schema_state(&pool).await {
                    Ok(SchemaState::Fits) => Condition::good("fits this worker"),
                    Ok(SchemaState::Older(why) | SchemaState::Newer(why)) => Condition::bad(why),
                    Err(error) => Condition::bad(error.to_string()),
                }
            })
        };
        Ok(Probe {
            pool: self.pool.clone(),
            schema,
            sidecar: self.sidecar.clone(),
            sidecar_addr: self.config.worker.dapr.grpc_endpoint.to_string(),
            api_token: self.sidecar_token.clone(),
            redis: broker::client(&self.config.data.redis)
                .map_err(|error| WorkerError::Configuration(error.to_string()))?,
            metrics: self.metrics.clone(),
        })
    }

    /// Opens console and board, where they are enabled and their ports can be had.
    pub(super) async fn start_pages(&self, stop: &CancellationToken) {
        let console = &self.config.worker.console;
        if console.enabled
            && let Some(listener) = console.addr.open_pages("Console").await
        {
            tokio::spawn(self.console.clone().serve(listener, stop.clone()));
        }
        pages::start_board(&self.console, &self.config, stop).await;
    }
}

pub(super) async fn bind(key: &'static str, addr: &ListenAddr) -> Result<TcpListener, WorkerError> {
    addr.bind().await.map_err(|source| WorkerError::Listen { key, addr: addr.to_string(), source })
}
