//! The queues as workers of apalis, and what goes on beside them.

use std::sync::Arc;

use apalis::prelude::{Data, Monitor, WorkerBuilder, WorkerBuilderExt};
use apalis_cron::{CronScheduler, Tick};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::cron::{Runner, Terms, Wakes};
use crate::database::{self, PgPool};
use crate::egress::{self, Egress};
use crate::inbox::Applier;
use crate::queue::{self, Backend, Outgoing, Queue, Wake};
use crate::telemetry::Metrics;

/// A worker of apalis on an outgoing queue.
pub(super) fn register<C: egress::Channel>(monitor: Monitor, egress: Arc<Egress<C>>) -> Monitor {
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

/// The queue `cron`, and one worker a job that apalis-cron wakes at its ticks.
pub(super) fn register_jobs(monitor: Monitor, runner: Arc<Runner>, wake: &Wake) -> Monitor {
    let enabled: Vec<_> = runner.jobs().iter().filter(|(.., enabled)| *enabled).cloned().collect();
    let monitor = monitor.register(move |_| {
        WorkerBuilder::new(Queue::Cron.as_str())
            .backend(Backend::new(Arc::clone(&runner)))
            .data(Arc::clone(&runner))
            .concurrency(1)
            .catch_panic()
            .build(Runner::handle)
    });
    enabled.into_iter().fold(monitor, |monitor, (job, schedule, _)| {
        let wake = wake.clone();
        monitor.register(move |_| {
            WorkerBuilder::new(job.as_str())
                .backend(CronScheduler::new(Wakes(schedule.clone())))
                .data(wake.clone())
                .build(async |_: Tick, wake: Data<Wake>| wake.look(Queue::Cron))
        })
    })
}

/// What goes on beside the queues: leases, wake-ups, partitions, samples.
pub(super) async fn background(
    keep: CancellationToken,
    pool: PgPool,
    wake: Wake,
    config: Config,
    outgoing: [Arc<Outgoing>; 2],
    inbox: Arc<Applier>,
    metrics: Metrics,
) {
    let [dapr, warehouse] = outgoing;
    let every = config.worker.queue.poll_interval;
    let paces = [inbox.pace(), dapr.pace(), warehouse.pace()];
    let terms = Terms::of(&config);
    tokio::select! {
        () = keep.cancelled() => {}
        () = dapr.keep_lanes() => {}
        () = warehouse.keep_lanes() => {}
        () = queue::watch(&pool, &wake, every) => {}
        () = database::maintain(&pool, &config.worker.inbox) => {}
        () = queue::sample(&pool, &metrics, &paces, &terms) => {}
    }
}
