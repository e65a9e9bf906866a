//! The prober: looks at every part, every two seconds.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;

use super::connections::{Database, Redis, Sidecar, within};
use crate::app::Metrics;
use crate::platform::database::PgPool;
use crate::platform::health::Condition;
use crate::platform::telemetry::LogOnce;
use crate::web::admin::Reporter;

const EVERY: Duration = Duration::from_secs(2);

/// The probe's subjects.
pub struct Probe<S> {
    /// The worker's pool: its use is measured, its address is probed on a connection of its own.
    pub pool: PgPool,
    /// Whether the schema is the expected one; asked while the database is reachable, and
    /// given a second.
    pub schema: S,
    /// The sidecar's gRPC endpoint.
    pub sidecar: Channel,
    /// The same, for eyes.
    pub sidecar_addr: String,
    /// `DAPR_API_TOKEN`, when the sidecar asks for one.
    pub api_token: Option<AsciiMetadataValue>,
    /// The Redis that Dapr's component uses, where one is configured.
    pub redis: Option<redis::Client>,
    /// Where the gauges are.
    pub metrics: Metrics,
}

impl<S, F> Probe<S>
where
    S: Fn() -> F,
    F: Future<Output = Condition>,
{
    /// Looks until `shutdown`, at once first. Says on the log when a part goes and when it is back.
    pub async fn run(self, reporter: Reporter, shutdown: CancellationToken) {
        let mut rounds = Rounds::new(self, reporter);
        let mut ticks = tokio::time::interval(EVERY);
        // A late round is not made up for by two at once.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let look = async {
            loop {
                ticks.tick().await;
                rounds.look().await;
            }
        };
        shutdown.run_until_cancelled_owned(look).await;
    }
}

/// A part with what was seen last.
struct Part {
    name: &'static str,
    addr: String,
    sender: watch::Sender<Condition>,
    unreachable: LogOnce<()>,
}

impl Part {
    fn new(name: &'static str, addr: String, sender: watch::Sender<Condition>) -> Self {
        Self { name, addr, sender, unreachable: LogOnce::default() }
    }

    /// Shows `condition` to the readers, with a line on the log when the part went or came back.
    fn saw(&mut self, condition: Condition) -> bool {
        let (name, addr, ok) = (self.name, &self.addr, condition.ok);
        if ok {
            if self.unreachable.is_over() {
                tracing::info!(%addr, "{name} is back");
            }
        } else if self.unreachable.is_new(()) {
            tracing::warn!(%addr, error = condition.detail, "{name} is unreachable");
        }
        show(&self.sender, condition);
        ok
    }
}

struct Rounds<S> {
    pool: PgPool,
    metrics: Metrics,
    check_schema: S,
    database: (Database, Part),
    sidecar: (Sidecar, Part),
    redis: Option<(Redis, Part)>,
    schema: watch::Sender<Condition>,
    /// The fault of the schema.
    unusable_schema: LogOnce<String>,
}

impl<S, F> Rounds<S>
where
    S: Fn() -> F,
    F: Future<Output = Condition>,
{
    fn new(probe: Probe<S>, reporter: Reporter) -> Self {
        let database = Database::of(&probe.pool);
        let database_addr = database.addr();
        let redis = match probe.redis.map(Redis::of) {
            Some(redis) => {
                let part = Part::new("Redis", redis.addr(), reporter.redis);
                Some((redis, part))
            }
            None => {
                show(&reporter.redis, Condition::good("none is configured"));
                None
            }
        };
        let sidecar = Sidecar { channel: probe.sidecar, api_token: probe.api_token, resiliencies: None };
        Self {
            pool: probe.pool,
            metrics: probe.metrics,
            check_schema: probe.schema,
            database: (database, Part::new("Postgres", database_addr, reporter.database)),
            sidecar: (sidecar, Part::new("Dapr sidecar", probe.sidecar_addr, reporter.sidecar)),
            redis,
            schema: reporter.schema,
            unusable_schema: LogOnce::default(),
        }
    }

    /// One look at everything, side by side; at most two limits long.
    async fn look(&mut self) {
        let check_schema = &self.check_schema;
        let database = async {
            let database = within(self.database.0.look()).await;
            let schema = if database.ok {
                within(check_schema()).await
            } else {
                Condition::bad("not known while the database is away")
            };
            (database, schema)
        };
        let redis = async {
            let (redis, part) = self.redis.as_mut()?;
            Some(part.saw(within(redis.look()).await))
        };
        let ((database, schema), sidecar, redis) = tokio::join!(database, within(self.sidecar.0.look()), redis);

        let database_up = self.database.1.saw(database);
        self.metrics.process.database_up(database_up);
        self.metrics.dapr.sidecar_up(self.sidecar.1.saw(sidecar));
        if let Some(resiliencies) = self.sidecar.0.resiliencies {
            self.metrics.dapr.resiliencies(resiliencies);
        }
        if let Some(redis_up) = redis {
            self.metrics.dapr.redis_up(redis_up);
        }
        self.saw_schema(schema, database_up);

        let (size, max) = (self.pool.size(), self.pool.options().get_max_connections());
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX).min(size);
        self.metrics.process.pool(idle, size - idle, max);
    }

    /// Unlike the other parts a schema can be wrong in several ways, so a change of the detail is
    /// logged too; nothing is known of it while the database is unreachable.
    fn saw_schema(&mut self, condition: Condition, database_up: bool) {
        if !database_up {
            // Nothing is known of it.
        } else if condition.ok {
            if self.unusable_schema.is_over() {
                tracing::info!(detail = condition.detail, "The schema can be used");
            }
        } else if self.unusable_schema.is_new(condition.detail.clone()) {
            tracing::warn!(detail = condition.detail, "The schema cannot be used");
        }
        show(&self.schema, condition);
    }
}

/// Shows `condition` to the readers, waking them only when it changed.
fn show(sender: &watch::Sender<Condition>, condition: Condition) {
    sender.send_if_modified(|last| {
        let changed = *last != condition;
        *last = condition;
        changed
    });
}

#[cfg(test)]
mod tests;
