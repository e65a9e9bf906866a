//! Everything that a run can be, registered in one place.

use std::sync::Arc;

use super::config::Config;
use crate::dapr::{Topics, reconcile};
use crate::engine::inbox::{Handler, Handlers};
use crate::engine::runs::{Scheduled, Work};
use crate::operations::{DeadRows, Judging, Replays};
use crate::platform::database::PgPool;
use crate::shop::jobs::{self, Job, JobWork};
use crate::shop::payments::{self, ORDER_ID, Payments, legible};

/// The handlers of all events.
#[must_use]
pub fn handlers(config: &Config, pool: &PgPool) -> Handlers {
    let payments: Arc<dyn Handler> =
        Arc::new(Payments::new(config.worker.inbox.payments.clone(), config.worker.eventbus.refunds, pool.clone()));
    Handlers::new([payments], legible)
}

/// The topics that events come from.
#[must_use]
pub fn topics(config: &Config) -> Topics {
    let eventbus = &config.worker.eventbus;
    Topics::new(&payments::topics(eventbus.refunds), ORDER_ID, &eventbus.dead_letter_topic)
}

/// The streams that are reconciled.
#[must_use]
pub fn reconciled(config: &Config) -> reconcile::Setup {
    reconcile::Setup {
        redis: config.data.redis.clone(),
        reconcile: config.worker.reconcile.clone(),
        topics: topics(config),
        pubsub: config.worker.eventbus.pubsub.clone(),
    }
}

/// By what the jobs judge.
#[must_use]
pub fn terms(config: &Config) -> jobs::Terms {
    let reconcile = &config.worker.reconcile;
    jobs::Terms::new(&config.business, reconcile.enabled.then(|| reconciled(config).names()), reconcile.every)
}

/// Every kind of runs: the jobs, replays, and what is done to dead rows.
#[must_use]
pub fn works(config: &Config, pool: &PgPool, terms: &jobs::Terms, judging: Judging) -> Vec<Arc<dyn Work>> {
    let job = |job: Job| -> Arc<dyn Work> {
        let batch = config.worker.cron.entry(job).batch;
        Arc::new(JobWork::new(job, batch, terms.clone(), pool.clone()))
    };
    let others: [Arc<dyn Work>; 2] = [Arc::new(Replays::new(judging, pool.clone())), Arc::new(DeadRows)];
    Job::ALL.into_iter().map(job).chain(others).collect()
}

/// When the jobs run.
#[must_use]
pub fn scheduled(config: &Config) -> Vec<Scheduled> {
    let cron = &config.worker.cron;
    let scheduled =
        |job: Job| Scheduled { name: job.as_str(), schedule: cron.schedule(job), enabled: cron.entry(job).enabled };
    Job::ALL.into_iter().map(scheduled).collect()
}
