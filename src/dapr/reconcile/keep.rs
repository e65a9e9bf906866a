//! The periodic look at the streams.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;

use super::witness::Witness;
use super::{Alert, From, Look, LookError, Reconciler, Setup, Taker};
use crate::dapr::Metrics;
use crate::dapr::ingress::Delivered;
use crate::dapr::sidecar;
use crate::engine::inbox::Accept;
use crate::platform::database::PgPool;
use crate::platform::telemetry::LogOnce;

/// The time that a sidecar has to subscribe once the worker is there.
const SETTLING: Duration = Duration::from_secs(30);
/// The limit of a call of the sidecar.
const SIDECAR: Duration = Duration::from_secs(2);

/// The sidecar, and the token that it is shown.
pub type Sidecar = (Channel, Option<AsciiMetadataValue>);

/// The periodic reconciliation.
#[derive(Debug)]
pub struct Keeper {
    /// The streams that are reconciled, and the settings.
    pub setup: Setup,
    /// The database.
    pub pool: PgPool,
    /// The way into the inbox.
    pub accept: Accept,
    /// Where what was saved is counted.
    pub metrics: Metrics,
    /// The sidecar, which knows the type of the component.
    pub sidecar: Sidecar,
    /// The counts of what Dapr has delivered to this process.
    pub delivered: Delivered,
}

/// The memory from one look to the next.
#[derive(Debug, Default)]
struct Memory {
    /// The alert of each stream.
    alerts: BTreeMap<String, LogOnce<String>>,
    /// The state of each stream.
    witnesses: BTreeMap<String, Witness>,
}

/// Looks at all streams now and then, for as long as it is polled.
pub async fn keep(keeper: &Keeper) {
    let settings = &keeper.setup.reconcile;
    if !settings.enabled {
        return std::future::pending().await;
    }
    let names = keeper.setup.names();
    let (every, mut overlapped) = (settings.every, None::<Instant>);
    // One replica that cannot look is no matter while another does.
    let unseen = (every * 3).max(SETTLING);
    let started = Instant::now();
    let (mut trouble, mut memory) = (LogOnce::default(), Memory::default());
    loop {
        let due = overlapped.is_none_or(|at| at.elapsed() >= settings.overlap);
        let from = if due { From::Overlap } else { From::Known };
        match keeper.once(from, started.elapsed() < SETTLING, &mut memory).await {
            Ok(()) => {
                if due {
                    overlapped = Some(Instant::now());
                }
                trouble.is_over();
            }
            Err(error) => {
                let of_the_broker = error.is_of_the_broker();
                let error = error.to_string();
                if of_the_broker {
                    let why = format!("cannot be looked at: {error}");
                    let cannot = sqlx::query(include_str!("sql/cannot_look.sql")).bind(names.as_slice()).bind(why);
                    // Where that cannot be written either, the next look says it.
                    let _ = cannot.bind(unseen.as_secs_f64()).execute(&keeper.pool).await;
                }
                if trouble.is_new(error.clone()) {
                    tracing::warn!("Streams not reconciled, trying again every {every:?}: error={error}");
                }
            }
        }
        tokio::time::sleep(every.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
    }
}

impl Keeper {
    /// One look at each stream. `settling`: the sidecar may not have subscribed yet.
    async fn once(&self, from: From, settling: bool, memory: &mut Memory) -> Result<(), LookError> {
        let names = self.setup.names();
        sqlx::query(include_str!("sql/wanted.sql")).bind(names.as_slice()).execute(&self.pool).await?;
        is_redis(&self.setup.pubsub, &self.sidecar).await?;
        let mut reconciler = Reconciler::connect(&self.setup, self.pool.clone()).await?;
        let another = reconciler.is_another().await?;
        let taker = Taker { accept: &self.accept, actor: "order-worker" };
        for (topic, name) in reconciler.streams() {
            if settling && reconciler.is_unread(&name).await? {
                continue;
            }
            let Some(row) = reconciler.claim(&name).await? else { continue };
            let delivered = self.delivered.on(&topic);
            let mut look = reconciler.look((&topic, &name), &row, from, another, Some(taker)).await?;
            if look.alert.is_none() {
                let witness = memory.witnesses.get(&name);
                look.alert = witness
                    .and_then(|witness| witness.came_from_elsewhere(&look.state, delivered))
                    .map(Alert::Elsewhere);
            }
            match Witness::of(&look.state, self.delivered.on(&topic)) {
                Some(witness) => memory.witnesses.insert(name.clone(), witness),
                None => memory.witnesses.remove(&name),
            };
            self.tell(&topic, &name, &look, memory);
            reconciler.looked(&name, &look, &row).await?;
        }
        Ok(())
    }

    fn tell(&self, topic: &str, name: &str, look: &Look, memory: &mut Memory) {
        let once = memory.alerts.entry(name.to_owned()).or_default();
        if let Some(alert) = look.alert.as_ref().map(ToString::to_string) {
            if once.is_new(alert.clone()) {
                tracing::error!(stream = %name, "Stream cannot be reconciled: {alert}; announcements that it lost: order-worker outbox resend --since 2h --dry-run");
            }
        } else {
            once.is_over();
            if look.restarted {
                tracing::warn!(stream = %name, "Redis was restarted, and the stream has its data; what other streams lost is sent again by order-worker outbox resend --since 2h: run_id={}", look.run_id.as_deref().unwrap_or_default());
            }
        }
        if look.saved > 0 {
            tracing::error!(stream = %name, saved = look.saved, "Events saved that Dapr had dropped: is dapr/resiliency.yaml in force?");
            self.metrics.saved(topic, look.saved);
        }
    }
}

/// Refuses a component that is none of Redis. A sidecar that does not answer, or does not name it, says nothing about it: whose a stream
/// is shows in its group.
async fn is_redis(component: &str, (channel, token): &Sidecar) -> Result<(), LookError> {
    let asked = sidecar::metadata(channel.clone(), token.as_ref());
    let Ok(Ok(metadata)) = tokio::time::timeout(SIDECAR, asked).await else { return Ok(()) };
    match metadata.components.iter().find(|one| one.name == component) {
        Some(one) if one.r#type != "pubsub.redis" => Err(LookError::Component(one.name.clone(), one.r#type.clone())),
        _ => Ok(()),
    }
}
