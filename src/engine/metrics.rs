//! The engine's numbers: inbox, queues, runs. docs/metrics.md explains each.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use strum::VariantNames;

use super::inbox::{Disposition, Failure};
use super::queue::{Queue, Sample};
use super::runs::RunOutcome;
use crate::platform::telemetry::instruments::{Counter, Gauge, Histogram, Instruments};
use crate::platform::telemetry::unix_seconds;

/// The label of a topic that nobody handles: topics come from outside and are not taken for labels.
const OTHER: &str = "other";

/// The names that the labels may have.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// What the events are called: `{events}_consumed_total`.
    pub events: &'a str,
    /// The topics that events come from.
    pub topics: &'a [&'static str],
    /// The queues.
    pub queues: &'a [Queue],
    /// The jobs that are scheduled.
    pub jobs: &'a [&'static str],
}

/// The engine's metrics. Clones share everything.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Engine>);

#[derive(Debug)]
struct Engine {
    topics: Vec<&'static str>,
    queues: Vec<Queue>,

    consumed: Counter,
    failed: Counter,
    duplicates: Counter,
    outcomes: Counter,
    accept: Histogram,
    apply: Histogram,

    runs: Counter,
    items: Counter,
    passed_over: Counter,
    run: Histogram,
    since_success: Gauge,
    overdue: Gauge,

    pending: Gauge,
    oldest_age: Gauge,
    dead: Gauge,
    parked: Gauge,
    quarantined: Gauge,
    oldest_transaction: Gauge,
    partitions_ready: Gauge,
    sampled_at: Gauge,
    lanes_owned: Gauge,
    paused: Gauge,
    retries: Counter,
}

impl Metrics {
    /// Makes the instruments.
    #[must_use]
    pub fn new(make: &Instruments, names: Names<'_>) -> Self {
        let topics: Vec<&'static str> = names.topics.iter().copied().chain([OTHER]).collect();
        let queues: Vec<&'static str> = names.queues.iter().map(|queue| queue.as_str()).collect();
        let topic = ("topic", topics.as_slice());
        let queue = ("queue", queues.as_slice());
        let job = ("job", names.jobs);
        let events = |what: &str| format!("{}_{what}_total", names.events);
        let engine = Engine {
            consumed: make.counter(events("consumed"), "Events accepted into the inbox, committed.", &[topic]),
            failed: make.counter(
                events("failed"),
                "Events that could not be handled.",
                &[topic, ("reason", Failure::VARIANTS)],
            ),
            duplicates: make.counter(events("duplicates"), "Events that the inbox had already.", &[topic]),
            outcomes: make.counter(
                "inbox_outcomes_total",
                "How events of the inbox ended, or where they wait.",
                &[("outcome", Disposition::VARIANTS)],
            ),
            accept: make.histogram(
                "accept_seconds",
                "From the receipt of an event to the commit that accepts it.",
                &[],
            ),
            apply: make.histogram("apply_seconds", "From the receipt of an event to the commit that applies it.", &[]),

            runs: make.counter(
                "cron_runs_total",
                "Runs of jobs that came to their end.",
                &[job, ("outcome", RunOutcome::VARIANTS)],
            ),
            items: make.counter("cron_items_total", "What jobs have cleaned or changed, committed.", &[job]),
            passed_over: make.counter(
                "cron_passed_over_total",
                "Rows that a job could not do while it could do others.",
                &[job],
            ),
            run: make.histogram("cron_run_seconds", "From the first batch of a run to the commit of its last.", &[job]),
            since_success: make.gauge(
                "cron_seconds_since_success",
                "Since the last run that succeeded, or since the job was registered; 0 for a disabled one.",
                &[job],
            ),
            overdue: make.gauge(
                "cron_overdue_seconds",
                "For how long a tick of the job has been due without a run; 0 when none is, or it is paused.",
                &[job],
            ),

            pending: make.gauge("queue_pending", "Rows to be done, in the whole database.", &[queue]),
            oldest_age: make.gauge("queue_oldest_age_seconds", "Age of the oldest row to be done.", &[queue]),
            dead: make.gauge("queue_dead", "Rows given up, until an operator acts.", &[queue]),
            parked: make.gauge("queue_parked", "Rows that wait behind a dead row of their key.", &[queue]),
            quarantined: make.gauge(
                "quarantined",
                "Events with a known id and another body, until an operator acts.",
                &[],
            ),
            oldest_transaction: make.gauge(
                "database_oldest_transaction_seconds",
                "How long the oldest snapshot in the database is held, as far as it is seen.",
                &[],
            ),
            partitions_ready: make.gauge(
                "partitions_ready_days",
                "Days from tomorrow on that have their partitions; at most 31.",
                &[],
            ),
            sampled_at: make.gauge("sample_timestamp_seconds", "When the sampled gauges were counted, Unix time.", &[]),
            lanes_owned: make.gauge("queue_lanes_owned", "Lanes that this process holds.", &[queue]),
            paused: make.gauge("queue_paused", "1 while this process takes nothing from the queue.", &[queue]),
            retries: make.counter("queue_retries_total", "Attempts that failed and will be made again.", &[queue]),
            queues: names.queues.to_vec(),
            topics,
        };
        engine.lanes_owned.set_all(|_| 0.0);
        engine.paused.set_all(|_| 0.0);
        Self(Arc::new(engine))
    }

    /// The label of a topic.
    fn topic(&self, topic: &str) -> &'static str {
        self.0.topics.iter().copied().find(|known| *known == topic).unwrap_or(OTHER)
    }

    /// New events of `topic` are committed in the inbox.
    pub fn events_consumed(&self, topic: &str, count: u64) {
        self.0.consumed.add(&[self.topic(topic)], count);
    }

    /// An event cannot be handled, or not now.
    pub fn event_failed(&self, topic: &str, failure: Failure) {
        self.0.failed.add(&[self.topic(topic), failure.into()], 1);
    }

    /// Events of `topic` were in the inbox already.
    pub fn events_duplicated(&self, topic: &str, count: u64) {
        self.0.duplicates.add(&[self.topic(topic)], count);
    }

    /// So many events of the inbox ended like this, or wait like this.
    pub fn inbox_settled(&self, disposition: impl Into<Disposition>, count: u64) {
        self.0.outcomes.add(&[disposition.into().into()], count);
    }

    /// An event was accepted, so long after its receipt.
    pub fn event_accepted(&self, since_receipt: Duration) {
        self.0.accept.record(&[], since_receipt);
    }

    /// An event was applied, so long after its receipt.
    pub fn event_applied(&self, since_receipt: Duration) {
        self.0.apply.record(&[], since_receipt);
    }

    /// A batch of a job has changed so many items.
    pub fn run_items(&self, job: &str, count: u64) {
        self.0.items.add(&[job], count);
    }

    /// A job went on behind a row that it could not do.
    pub fn run_passed_over(&self, job: &str) {
        self.0.passed_over.add(&[job], 1);
    }

    /// A run came to its end, so long after its beginning where that is known.
    pub fn run_finished(&self, job: &str, outcome: RunOutcome, took: Option<Duration>) {
        self.0.runs.add(&[job, outcome.into()], 1);
        if let Some(took) = took {
            self.0.run.record(&[job], took);
        }
    }

    /// An attempt of `queue` failed and will be made again.
    pub fn queue_retried(&self, queue: Queue) {
        self.0.retries.add(&[queue.as_str()], 1);
    }

    /// This process holds so many lanes of `queue`.
    pub fn lanes_owned(&self, queue: Queue, lanes: usize) {
        self.0.lanes_owned.set_count(&[queue.as_str()], i64::try_from(lanes).unwrap_or(i64::MAX));
    }

    /// The queues were counted in the database, now.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has floats only")]
    pub fn observe(&self, sample: &Sample) {
        let of = |name: &str| sample.queues.iter().find(|queue| queue.queue == name);
        self.0.pending.set_all(|name| of(name).map_or(0.0, |queue| queue.pending as f64));
        self.0.oldest_age.set_all(|name| of(name).map_or(0.0, |queue| queue.oldest_age.max(0.0)));
        self.0.dead.set_all(|name| of(name).map_or(0.0, |queue| queue.dead as f64));
        self.0.parked.set_all(|name| of(name).map_or(0.0, |queue| queue.parked as f64));
        for queue in &self.0.queues {
            self.0.paused.set_if(&[queue.as_str()], sample.paused.contains(&queue.as_str()));
        }
        for (job, since_success, overdue) in &sample.jobs {
            self.0.since_success.set(&[job], since_success.max(0.0));
            self.0.overdue.set(&[job], overdue.max(0.0));
        }
        self.0.quarantined.set_count(&[], sample.quarantined);
        self.0.oldest_transaction.set(&[], sample.oldest_snapshot.as_secs_f64());
        self.0.partitions_ready.set_count(&[], sample.partitions_ready);
        self.0.sampled_at.set(&[], unix_seconds(SystemTime::now()));
    }
}
