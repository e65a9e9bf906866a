//! The parts of a worker and how they are joined.

use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::{Monitor, WorkerBuilder, WorkerBuilderExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;

use super::queues::{background, register, register_jobs};
use super::renewal::Renewal;
use super::{AWAIT, Ended, Mode, WorkerError, stoppable};
use crate::admin::{self, Subscriptions};
use crate::broker;
use crate::config::{Config, Layers, ListenAddr, Secret};
use crate::connection::{connection, endpoint};
use crate::console::Site;
use crate::cron::{self, Runner};
use crate::database::{self, PgPool, SchemaState, schema_state};
use crate::discovery::{self, Registration};
use crate::egress::{self, Dapr, Egress, Warehouse};
use crate::health::{Condition, Health, Probe, Reporter};
use crate::inbox::{self, Accept, Acceptor, Applier, CONFIRMED_TOPIC, FAILED_TOPIC};
use crate::ingress::{self, Callback, Delivered};
use crate::queue::settings::Drain;
use crate::queue::{self, Backend, Lanes, Outgoing, Pace, Queue, Wake};
use crate::reconcile;
use crate::telemetry::Metrics;
use crate::terms;

/// What the queues have to put down their work when the grace period was used up before them.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// What a worker is made of.
#[derive(Debug)]
pub(super) struct Parts {
    config: Config,
    mode: Mode,
    metrics: Metrics,
    pool: PgPool,
    /// Of the console and the board.
    pages: PgPool,
    wake: Wake,
    health: Health,
    /// What the worker says of itself, for `/readyz`.
    condition: watch::Sender<Condition>,
    reporter: std::sync::Mutex<Option<Reporter>>,
    sidecar: Channel,
    sidecar_token: Option<AsciiMetadataValue>,
    consul: Option<discovery::Client>,
    app_token: watch::Sender<Option<Secret>>,
    site: Site,
}

impl Parts {
    /// Joins them; opens nothing.
    pub(super) fn new(config: Config, mode: Mode, metrics: Metrics) -> Result<Self, WorkerError> {
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
        let consul =
            discovery::Client::new(&config.worker.consul, metrics.clone()).map_err(WorkerError::Configuration)?;
        let (wake, reporter) = (Wake::default(), std::sync::Mutex::new(Some(reporter)));
        let app_token = watch::Sender::new(config.worker.eventbus.app_token.clone());
        let site = Site::new(pages.clone(), &config);
        Ok(Self {
            config,
            mode,
            metrics,
            pool,
            pages,
            wake,
            health,
            condition,
            reporter,
            sidecar,
            sidecar_token,
            consul,
            app_token,
            site,
        })
    }

    pub(super) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Takes secrets that change, until `stop`.
    pub(super) fn start_renewal(&self, layers: Layers, stop: &CancellationToken) {
        let renewal = Renewal {
            layers,
            config: self.config.clone(),
            pool: self.pool.clone(),
            pages: self.pages.clone(),
            app_token: self.app_token.clone(),
            site: self.site.clone(),
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(renewal.keep()));
    }

    /// Health and metrics are there before anything is awaited.
    pub(super) async fn start_admin(&self, stop: &CancellationToken) -> Result<(), WorkerError> {
        let listener = bind("worker.admin.addr", &self.config.worker.admin.addr).await?;
        let subscriptions = if self.mode.consumes_events() {
            Subscriptions::to(&self.config.worker.eventbus.pubsub, &[CONFIRMED_TOPIC, FAILED_TOPIC])
        } else {
            Subscriptions::none()
        };
        let state = admin::State { health: self.health.clone(), metrics: self.metrics.clone(), subscriptions };
        tokio::spawn(admin::serve(listener, state, stop.clone()));
        let reporter = self.reporter.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(reporter) = reporter {
            self.start_probe(reporter, stop)?;
        }
        Ok(())
    }

    fn start_probe(&self, reporter: Reporter, stop: &CancellationToken) -> Result<(), WorkerError> {
        let pool = self.pool.clone();
        let schema = move || {
            let pool = pool.clone();
            async move {
                match schema_state(&pool).await {
                    Ok(SchemaState::Fits) => Condition::good("fits this worker"),
                    Ok(SchemaState::Older(why) | SchemaState::Newer(why)) => Condition::bad(why),
                    Err(error) => Condition::bad(error.to_string()),
                }
            }
        };
        let probe = Probe {
            pool: self.pool.clone(),
            schema,
            sidecar: self.sidecar.clone(),
            sidecar_addr: self.config.worker.dapr.grpc_endpoint.to_string(),
            api_token: self.sidecar_token.clone(),
            redis: broker::client(&self.config.data.redis)
                .map_err(|error| WorkerError::Configuration(error.to_string()))?,
            metrics: self.metrics.clone(),
        };
        tokio::spawn(probe.run(reporter, stop.clone()));
        Ok(())
    }

    /// Runs the queues, and the event server where the mode has one, until `stop`; then brings everything to its end.
    pub(super) async fn run(&self, stop: &CancellationToken) -> Result<Ended, WorkerError> {
        let settings = &self.config.worker;
        // Before the first job: it asks whether events were ever taken in here.
        if stoppable(stop, self.register_terms()).await.is_none() {
            return Ok(Ended::Finished);
        }
        let runner = if self.mode.runs_jobs() { Some(self.start_jobs(stop).await) } else { None };
        let applier = Arc::new(Applier::new(
            self.pool.clone(),
            self.wake.clone(),
            self.metrics.clone(),
            settings.queue.inbox.batch as usize,
            settings.queue.inbox.max_attempts.into(),
            &settings.inbox,
        ));
        let dapr = Dapr::new(
            self.sidecar.clone(),
            self.sidecar_token.clone(),
            settings.dapr.pubsub.clone(),
            settings.dapr.timeout,
            self.metrics.clone(),
        );
        // What follows lives until the queues are drained, longer than the servers.
        let keep = CancellationToken::new();
        let warehouse_at = &self.config.external_services.warehouse_service.grpc_endpoint;
        let warehouse = Warehouse::new(
            self.warehouse_connection(&keep)?,
            warehouse_at.addr().clone(),
            settings.warehouse.timeout,
            self.pool.clone(),
            self.metrics.clone(),
        );
        let dapr = self.egress(Queue::Dapr, &settings.queue.dapr, dapr);
        let warehouse = self.egress(Queue::Warehouse, &settings.queue.warehouse, warehouse);

        let eventbus = &settings.eventbus;
        let accept = self.mode.consumes_events().then(|| {
            let (pool, wake, metrics) = (self.pool.clone(), self.wake.clone(), self.metrics.clone());
            Acceptor::start(pool, eventbus.batch, eventbus.accept_timeout, wake, metrics)
        });

        let background = tokio::spawn(background(
            keep.clone(),
            self.pool.clone(),
            self.wake.clone(),
            self.config.clone(),
            [Arc::clone(dapr.outgoing()), Arc::clone(warehouse.outgoing())],
            Arc::clone(&applier),
            self.metrics.clone(),
        ));

        self.start_console(stop).await;
        let delivered = Delivered::none(&self.config);
        if let Some(accept) = accept.clone() {
            let keeper = reconcile::Keeper {
                config: self.config.clone(),
                pool: self.pool.clone(),
                accept,
                metrics: self.metrics.clone(),
                sidecar: (self.sidecar.clone(), self.sidecar_token.clone()),
                delivered: delivered.clone(),
            };
            let looks = async move { reconcile::keep(&keeper).await };
            tokio::spawn(stop.clone().run_until_cancelled_owned(looks));
        }

        let draining = CancellationToken::new();
        // The grace period is one for all, and kept here; apalis only has to end if this does not.
        let longest = settings.shutdown.grace + 2 * LAST_MOMENT;
        let mut monitor = Monitor::new().shutdown_timeout(longest).should_restart(|worker, error| {
            tracing::error!(worker = worker.name(), "Queue worker failed, it is started again: error={error}");
            !worker.is_shutting_down()
        });
        if self.mode.consumes_events() {
            let concurrency = settings.queue.inbox.concurrency;
            monitor = monitor.register(move |_| {
                WorkerBuilder::new("inbox")
                    .backend(Backend::new(Arc::clone(&applier)))
                    .data(Arc::clone(&applier))
                    .concurrency(concurrency)
                    .catch_panic()
                    .build(Applier::handle)
            });
        }
        if let Some(runner) = runner {
            monitor = register_jobs(monitor, runner, &self.wake);
        }
        let monitor = register(register(monitor, dapr), warehouse);
        let drained = draining.clone();
        let mut queues = tokio::spawn(monitor.run_with_signal(async move {
            drained.cancelled().await;
            Ok(())
        }));

        let over = grace_over(stop, settings.shutdown.grace);
        let served = until_over(&over, self.serve_events(accept, delivered, stop)).await;
        // No new event comes in: what is in hand is finished.
        self.condition.send_replace(Condition::bad("stopping"));
        draining.cancel();
        let ended = tokio::select! {
            ended = &mut queues => Some(ended),
            () = async { over.cancelled().await; tokio::time::sleep(LAST_MOMENT).await } => None,
        };
        keep.cancel();
        let _ = background.await;
        if ended.is_some() {
            // A session that hangs is the database's to end.
            let _ =
                tokio::time::timeout(LAST_MOMENT, async { tokio::join!(self.pool.close(), self.pages.close()) }).await;
        } else {
            tracing::warn!("Sends still hang at the end of the grace period: they are cut off");
            queues.abort();
        }
        served?;
        match ended {
            None => Ok(Ended::CutOff),
            Some(Ok(Ok(()))) => Ok(Ended::Finished),
            Some(Ok(Err(error))) => Err(WorkerError::Runtime(error.to_string())),
            Some(Err(error)) => Err(WorkerError::Runtime(error.to_string())),
        }
    }

    /// A port that is taken is no reason not to work: two workers of one machine have one console and one board.
    async fn start_console(&self, stop: &CancellationToken) {
        let (console, board) = (&self.config.worker.console, &self.config.worker.board);
        let site = self.site.clone();
        if let Some(listener) = opened("Console", console.enabled, &console.addr).await {
            tokio::spawn(site.clone().serve(listener, stop.clone()));
        }
        if let Some(listener) = opened("Board", board.enabled, &board.addr).await {
            tokio::spawn(site.serve_board(listener, stop.clone()));
        }
    }

    /// Writes down by what this worker judges. Waits for a database that is away.
    async fn register_terms(&self) {
        let worker = queue::worker_name();
        let register = async || {
            if self.mode.consumes_events() {
                terms::register(&self.pool, &inbox::Terms::from(&self.config.worker.inbox), &worker).await?;
            }
            if self.mode.runs_jobs() {
                terms::register(&self.pool, &cron::Terms::of(&self.config), &worker).await?;
            }
            Ok::<_, sqlx::Error>(())
        };
        let mut said = String::new();
        while let Err(error) = register().await {
            let awaited = format!("Waiting for the database to take this worker's settings: error={error}");
            if awaited != said {
                tracing::warn!("{awaited}");
                said = awaited;
            }
            tokio::time::sleep(AWAIT).await;
        }
    }

    /// Says which jobs there are, here and in the database.
    async fn start_jobs(&self, stop: &CancellationToken) -> Arc<Runner> {
        tracing::info!("Starting cron jobs...");
        let (pool, wake, metrics) = (self.pool.clone(), self.wake.clone(), self.metrics.clone());
        let runner = Runner::new(pool, wake, metrics, &self.config, queue::worker_name());
        let runner = if self.mode.consumes_events() { runner.judging_events() } else { runner };
        for (job, schedule, enabled) in runner.jobs() {
            if *enabled {
                tracing::info!("Registered job: {job} ({})", schedule.expression);
            } else {
                tracing::info!("Disabled job: {job} (worker.cron.{job}.enabled is false)");
            }
        }
        tokio::select! {
            () = runner.register() => {}
            () = stop.cancelled() => {}
        }
        Arc::new(runner)
    }

    /// The event port opens last: daprd asks for the subscriptions three times and never again. Without one: waits for `stop`.
    async fn serve_events(
        &self,
        accept: Option<Accept>,
        delivered: Delivered,
        stop: &CancellationToken,
    ) -> Result<(), WorkerError> {
        let Some(accept) = accept else {
            self.condition.send_replace(Condition::good("drains its queues"));
            stop.cancelled().await;
            return Ok(());
        };
        let eventbus = &self.config.worker.eventbus;
        let callback =
            Callback::new(accept, delivered, eventbus, self.app_token.subscribe(), self.health.database.clone());
        let listener = bind("worker.eventbus.addr", &eventbus.addr).await?;
        let served = stop.child_token();
        let registration = self.registration(&listener).map(|one| tokio::spawn(one.keep(served.clone())));
        self.condition.send_replace(Condition::good("takes events and drains its queues"));
        tracing::info!(addr = %eventbus.addr, "Consuming payment events");
        let done = ingress::serve(listener, callback, eventbus, stop.clone()).await;
        served.cancel();
        if let Some(registration) = registration {
            let _ = registration.await;
        }
        Ok(done?)
    }

    fn registration(&self, listener: &tokio::net::TcpListener) -> Option<Registration> {
        let port = listener.local_addr().ok()?.port();
        let consul = self.consul.clone()?;
        Some(Registration::new(consul, &self.config.worker.consul, &self.config.worker.eventbus.addr, port))
    }

    /// To the configured endpoint, or to the instances of its service that Consul names.
    fn warehouse_connection(&self, keep: &CancellationToken) -> Result<Channel, WorkerError> {
        let configured = &self.config.external_services.warehouse_service.grpc_endpoint;
        let fallback = endpoint(configured.uri())?;
        let (Some(consul), Some(service)) = (&self.consul, discovery::service_of(configured)) else {
            return Ok(fallback.connect_lazy());
        };
        let (settings, metrics) = (&self.config.worker.consul, self.metrics.clone());
        Ok(discovery::balanced(consul.clone(), settings, service, fallback, metrics, keep.clone()))
    }

    fn egress<C: egress::Channel>(&self, queue: Queue, drain: &Drain, channel: C) -> Arc<Egress<C>> {
        let (lease, drains) = (self.config.worker.queue.lease, self.mode.drains());
        let lanes = Lanes::new(self.pool.clone(), queue, lease, &drains, self.metrics.clone());
        let pace = Pace::new(queue, drain.batch as usize);
        let concurrency = u32::try_from(drain.concurrency).unwrap_or(u32::MAX);
        let outgoing = Outgoing::new(self.pool.clone(), queue, lanes, pace, self.wake.clone(), concurrency);
        Arc::new(Egress::new(Arc::new(outgoing), channel, drain.max_attempts.into()))
    }
}

/// Is cancelled when the grace period after `stop` is over.
fn grace_over(stop: &CancellationToken, grace: Duration) -> CancellationToken {
    let over = CancellationToken::new();
    let (stop, end) = (stop.clone(), over.clone());
    tokio::spawn(async move {
        stop.cancelled().await;
        tokio::time::sleep(grace).await;
        end.cancel();
    });
    over
}

async fn until_over(
    over: &CancellationToken,
    work: impl Future<Output = Result<(), WorkerError>>,
) -> Result<(), WorkerError> {
    tokio::select! {
        done = work => done,
        () = over.cancelled() => {
            tracing::warn!("Calls of Dapr still hang at the end of the grace period: they are cut off, Dapr delivers again");
            Ok(())
        }
    }
}

/// A port for pages, where it can be had.
async fn opened(what: &str, enabled: bool, addr: &ListenAddr) -> Option<tokio::net::TcpListener> {
    if !enabled {
        return None;
    }
    match addr.bind().await {
        Ok(listener) => {
            tracing::info!(addr = %addr, "{what} opened");
            Some(listener)
        }
        Err(error) => {
            tracing::warn!(addr = %addr, "{what} not opened: error={error}");
            None
        }
    }
}

async fn bind(key: &'static str, addr: &ListenAddr) -> Result<tokio::net::TcpListener, WorkerError> {
    addr.bind().await.map_err(|source| WorkerError::Listen { key, addr: addr.to_string(), source })
}
