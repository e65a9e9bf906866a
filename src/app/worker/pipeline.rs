//! The way of the data through a worker: events in, their effects, what follows from them out, and the runs beside them.

use std::sync::Arc;

use apalis::prelude::{Monitor, WorkerBuilder, WorkerBuilderExt};
use apalis_cron::CronScheduler;
use tokio_util::sync::CancellationToken;

use super::Mode;
use super::WorkerError;
use super::foundation::{Foundation, bind};
use super::shutdown::Shutdown;
use crate::app::runs::{handlers, reconciled, scheduled, terms, topics, works};
use crate::dapr::ingress::{self, Callback, Delivered};
use crate::dapr::publish::Dapr;
use crate::dapr::reconcile;
use crate::engine::egress::{Channel, Egress};
use crate::engine::inbox::{Accept, Acceptor, Applier};
use crate::engine::queue::settings::Drain;
use crate::engine::queue::{self, Backend, CircuitBreaker, Lanes, Outgoing, Queue, Sampler};
use crate::engine::retention;
use crate::engine::runs::{Runner, Wakes};
use crate::operations::{Judging, QUEUES, incidents};
use crate::platform::connection::connection;
use crate::platform::consul::{self, Balancer, Registration};
use crate::platform::health::Condition;
use crate::shop::announcements;
use crate::shop::jobs::Evidence;
use crate::shop::warehouse::{self, Warehouse};

/// Between two looks at what only the database knows.
const SAMPLED: std::time::Duration = std::time::Duration::from_secs(5);

/// The way of the data. What a mode does not do is not there.
#[derive(Debug)]
pub(super) struct Pipeline {
    foundation: Arc<Foundation>,
    accept: Option<Accept>,
    delivered: Delivered,
    applier: Arc<Applier>,
    dapr: Arc<Egress<Dapr>>,
    warehouse: Arc<Egress<Warehouse>>,
    runner: Option<Arc<Runner>>,
}

impl Pipeline {
    /// Builds it over `foundation`; nothing flows yet.
    pub(super) fn new(foundation: &Arc<Foundation>, keep: &CancellationToken) -> Result<Self, WorkerError> {
        let Foundation { config, mode, metrics, pool, wake, sidecar, sidecar_token, .. } = &**foundation;
        let settings = &config.worker;
        let handlers = handlers(config, pool);
        let applier = Applier::new(
            pool.clone(),
            wake.clone(),
            metrics.engine.clone(),
            settings.queue.inbox.batch as usize,
            settings.queue.inbox.max_attempts.into(),
            handlers.clone(),
        );
        let accept = mode.consumes_events().then(|| {
            let (batch, timeout) = (settings.eventbus.batch, settings.eventbus.accept_timeout);
            Acceptor::start(pool.clone(), batch, timeout, handlers, wake.clone(), metrics.engine.clone())
        });
        let dapr = Dapr::new(
            sidecar.clone(),
            sidecar_token.clone(),
            settings.dapr.pubsub.clone(),
            settings.dapr.timeout,
            metrics.dapr.clone(),
        );
        let warehouse = Warehouse::new(
            warehouse_connection(foundation, keep)?,
            config.external_services.warehouse_service.grpc_endpoint.addr().clone(),
            settings.warehouse.timeout,
            pool.clone(),
            metrics.shop.clone(),
        );
        Ok(Self {
            accept,
            delivered: Delivered::none(&topics(config)),
            applier: Arc::new(applier),
            dapr: egress(foundation, announcements::QUEUE, &settings.queue.dapr, dapr),
            warehouse: egress(foundation, warehouse::QUEUE, &settings.queue.warehouse, warehouse),
            runner: mode.runs_jobs().then(|| Arc::new(runner(foundation))),
            foundation: Arc::clone(foundation),
        })
    }

    /// Says which jobs there are, here and in the database.
    pub(super) async fn register_jobs(&self, stop: &CancellationToken) {
        let Some(runner) = &self.runner else { return };
        tracing::info!("Starting cron jobs...");
        for job in runner.jobs() {
            let name = job.name;
            if job.enabled {
                tracing::info!("Registered job: {name} ({})", job.schedule.expression);
            } else {
                tracing::info!("Disabled job: {name} (worker.cron.{name}.enabled is false)");
            }
        }
        tokio::select! {
            () = runner.register() => {}
            () = stop.cancelled() => {}
        }
        let kept = Arc::clone(runner);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move { kept.keep_registered().await }));
    }

    /// The tasks beside the queues, until `keep` is cancelled: leases, wake-ups, partitions, samples.
    pub(super) async fn background(&self, keep: CancellationToken) {
        let Foundation { config, pool, wake, .. } = &*self.foundation;
        tokio::select! {
            () = keep.cancelled() => {}
            () = self.dapr.outgoing().keep_lanes() => {}
            () = self.warehouse.outgoing().keep_lanes() => {}
            () = queue::watch(pool, wake, config.worker.queue.poll_interval) => {}
            () = retention::maintain(pool, &config.worker.inbox.keep) => {}
            () = self.sample() => {}
        }
    }

    /// Counts, for the gauges, what only the database knows.
    async fn sample(&self) {
        let Foundation { config, metrics, pool, .. } = &*self.foundation;
        let breakers = [self.applier.breaker(), self.dapr.outgoing().breaker(), self.warehouse.outgoing().breaker()];
        let sampler = Sampler::new(pool.clone(), QUEUES.to_vec(), breakers.map(Arc::clone).to_vec());
        let terms = terms(config);
        loop {
            let looked = async {
                metrics.engine.observe(&sampler.look().await?);
                metrics.shop.incidents_open(&incidents::open(pool).await?);
                metrics.shop.evidence(&Evidence::read(&mut *pool.acquire().await?, &terms).await?);
                metrics.operations.look(pool).await
            };
            // The health probe logs an unreachable database; old numbers show by their time.
            if let Err(error) = looked.await {
                tracing::debug!("Queues not counted: error={error}");
            }
            tokio::time::sleep(SAMPLED).await;
        }
    }

    /// Looks through the broker's streams, where events are taken in.
    pub(super) fn start_reconciliation(&self, stop: &CancellationToken) {
        let Some(accept) = self.accept.clone() else { return };
        let Foundation { config, metrics, pool, sidecar, sidecar_token, .. } = &*self.foundation;
        let keeper = reconcile::Keeper {
            setup: reconciled(config),
            pool: pool.clone(),
            accept,
            metrics: metrics.dapr.clone(),
            sidecar: (sidecar.clone(), sidecar_token.clone()),
            delivered: self.delivered.clone(),
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move { reconcile::keep(&keeper).await }));
    }

    /// The queues as workers of apalis.
    pub(super) fn monitor(&self, shutdown: &Shutdown) -> Monitor {
        let mut monitor = Monitor::new().shutdown_timeout(shutdown.longest()).should_restart(|worker, error| {
            tracing::error!(worker = worker.name(), "Queue worker failed, it is started again: error={error}");
            !worker.is_shutting_down()
        });
        if self.accept.is_some() {
            let applier = Arc::clone(&self.applier);
            let concurrency = self.foundation.config.worker.queue.inbox.concurrency;
            monitor = monitor.register(move |_| {
                WorkerBuilder::new(Queue::INBOX.as_str())
                    .backend(Backend::new(Arc::clone(&applier)))
                    .data(Arc::clone(&applier))
                    .concurrency(concurrency)
                    .catch_panic()
                    .build(Applier::handle)
            });
        }
        if let Some(runner) = &self.runner {
            monitor = with_runs(monitor, runner);
        }
        with_egress(with_egress(monitor, &self.dapr), &self.warehouse)
    }

    /// The event port opens last: daprd asks for the subscriptions three times and never again. Without one: waits for `stop`.
    pub(super) async fn serve_events(&self, stop: &CancellationToken) -> Result<(), WorkerError> {
        let Foundation { config, condition, app_token, health, .. } = &*self.foundation;
        let Some(accept) = self.accept.clone() else {
            condition.send_replace(Condition::good("drains its queues"));
            stop.cancelled().await;
            return Ok(());
        };
        let eventbus = &config.worker.eventbus;
        let (delivered, token, database) = (self.delivered.clone(), app_token.subscribe(), health.database.clone());
        let callback = Callback::new(accept, delivered, eventbus, topics(config), token, database);
        let listener = bind("worker.eventbus.addr", &eventbus.addr).await?;
        let served = stop.child_token();
        let registration = self.registration(&listener).map(|one| tokio::spawn(one.keep(served.clone())));
        condition.send_replace(Condition::good("takes events and drains its queues"));
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
        let Foundation { config, consul, .. } = &*self.foundation;
        Some(Registration::new(consul.clone()?, &config.worker.consul, &config.worker.eventbus.addr, port))
    }
}

/// The runner of jobs and replays. Events are judged in a replay as this process does that takes them in, or else as those do.
fn runner(foundation: &Foundation) -> Runner {
    let Foundation { config, mode, metrics, pool, wake, .. } = foundation;
    let on_mismatch = config.worker.inbox.payments.mismatch();
    let judging = if mode.consumes_events() { Judging::Own(on_mismatch) } else { Judging::Registered(on_mismatch) };
    let works = works(config, pool, &terms(config), judging);
    let name = queue::worker_name();
    Runner::new(pool.clone(), wake.clone(), metrics.engine.clone(), works, scheduled(config), name)
}

/// To the configured endpoint, or to the instances of its service that Consul names.
fn warehouse_connection(foundation: &Foundation, keep: &CancellationToken) -> Result<Balancer, WorkerError> {
    let Foundation { config, consul, metrics, .. } = foundation;
    let configured = &config.external_services.warehouse_service.grpc_endpoint;
    let fallback = connection(configured)?;
    let (Some(consul), Some(service)) = (consul, consul::service_of(configured)) else {
        return Ok(Balancer::to(fallback));
    };
    let shop = metrics.shop.clone();
    let found = move |instances| shop.warehouse_instances(instances);
    Ok(consul::balanced(consul.clone(), &config.worker.consul, service, fallback, found, keep.clone()))
}

fn egress<C: Channel>(foundation: &Foundation, queue: Queue, drain: &Drain, channel: C) -> Arc<Egress<C>> {
    let Foundation { config, mode, metrics, pool, wake, .. } = foundation;
    let (lease, drains) = (config.worker.queue.lease, mode.drains());
    let lanes = Lanes::new(pool.clone(), queue, lease, &drains, wake.clone(), metrics.engine.clone());
    let breaker = CircuitBreaker::new(queue, drain.batch as usize);
    let concurrency = u32::try_from(drain.concurrency).unwrap_or(u32::MAX);
    let outgoing = Outgoing::new(pool.clone(), queue, lanes, breaker, wake.clone(), concurrency);
    Arc::new(Egress::new(Arc::new(outgoing), channel, drain.max_attempts.into(), metrics.engine.clone()))
}

/// A worker of apalis on an outgoing queue.
fn with_egress<C: Channel>(monitor: Monitor, egress: &Arc<Egress<C>>) -> Monitor {
    let egress = Arc::clone(egress);
    monitor.register(move |_| {
        let outgoing = egress.outgoing();
        WorkerBuilder::new(outgoing.queue().as_str())
            .backend(Backend::new(Arc::clone(outgoing)))
            .data(Arc::clone(&egress))
            .concurrency(outgoing.concurrency())
            .catch_panic()
            .build(Egress::<C>::handle)
    })
}

/// The queue of runs, and one worker a job for the ticks of apalis-cron.
fn with_runs(monitor: Monitor, runner: &Arc<Runner>) -> Monitor {
    let polled = Arc::clone(runner);
    let monitor = monitor.register(move |_| {
        WorkerBuilder::new(Queue::RUNS.as_str())
            .backend(Backend::new(Arc::clone(&polled)))
            .data(Arc::clone(&polled))
            .concurrency(1)
            .catch_panic()
            .build(Runner::handle)
    });
    runner.jobs().iter().filter(|job| job.enabled).cloned().fold(monitor, |monitor, job| {
        let runner = Arc::clone(runner);
        monitor.register(move |_| {
            WorkerBuilder::new(job.name)
                .backend(CronScheduler::new(Wakes(job.schedule.clone())))
                .data(Arc::clone(&runner))
                .build(Runner::tick)
        })
    })
}

impl Mode {
    /// The queues that rows are taken from.
    #[must_use]
    pub fn drains(self) -> Vec<Queue> {
        let drains = |queue: &Queue| match *queue {
            Queue::INBOX => self.consumes_events(),
            Queue::RUNS => self.runs_jobs(),
            _ => true,
        };
        QUEUES.into_iter().filter(drains).collect()
    }
}
