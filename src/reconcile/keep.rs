//! Looks by itself, now and then.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::look::{CLAIM, known};
use super::{Alert, From, LookError, Reconciler, Taker};
use crate::config::Config;
use crate::database::PgPool;
use crate::inbox::Accept;
use crate::telemetry::Metrics;
use crate::telemetry::labels::Topic;

/// How long a sidecar may take to subscribe once the worker is there.
const SETTLING: Duration = Duration::from_secs(30);

/// Looks at all streams now and then, for as long as it is polled.
pub async fn keep(config: &Config, pool: &PgPool, accept: &Accept, metrics: &Metrics) {
    if !config.worker.reconcile.enabled || config.data.redis.addr.is_none() {
        return std::future::pending().await;
    }
    let settings = &config.worker.reconcile;
    let (every, mut overlapped) = (settings.every, None::<Instant>);
    let started = Instant::now();
    let (mut said, mut alerts) = (String::new(), BTreeMap::new());
    loop {
        let due = overlapped.is_none_or(|at| at.elapsed() >= settings.overlap);
        let from = if due { From::Overlap } else { From::Known };
        let taker = Taker { accept, actor: "order-worker" };
        let settling = started.elapsed() < SETTLING;
        match once(config, pool, taker, metrics, from, settling, &mut alerts).await {
            Ok(()) => {
                if due {
                    overlapped = Some(Instant::now());
                }
                said.clear();
            }
            Err(error) => {
                // Said once, not at each look.
                let error = error.to_string();
                if error != said {
                    tracing::warn!("Streams not reconciled, trying again every {every:?}: error={error}");
                    said = error;
                }
            }
        }
        tokio::time::sleep(every.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
    }
}

/// One look at each stream. `alerts` is what was said of them before; `settling`: the sidecar may not have subscribed yet.
async fn once(
    config: &Config,
    pool: &PgPool,
    taker: Taker<'_>,
    metrics: &Metrics,
    from: From,
    settling: bool,
    alerts: &mut BTreeMap<String, Option<Alert>>,
) -> Result<(), LookError> {
    let mut reconciler = Reconciler::connect(config, pool.clone()).await?;
    let another = reconciler.is_another().await?;
    for topic in reconciler.topics() {
        if settling && reconciler.is_unread(&topic).await? {
            continue;
        }
        let claim = sqlx::query_as(include_str!("sql/claim.sql")).bind(&topic).bind(CLAIM.as_secs_f64());
        let Some(row) = claim.fetch_optional(pool).await? else { continue };
        let look = reconciler.look(&topic, &known(row), from, another, Some(taker)).await?;
        let before = alerts.insert(topic.clone(), look.alert).flatten();
        if let Some(alert) = look.alert.filter(|alert| before != Some(*alert)) {
            tracing::error!(stream = %topic, "Stream cannot be reconciled: {alert}; announcements that it lost: order-worker outbox resend --since 2h --dry-run");
        } else if look.alert.is_none() && look.restarted {
            tracing::warn!(stream = %topic, "Redis was restarted, and the stream has its data; what other streams lost is sent again by order-worker outbox resend --since 2h: run_id={}", look.run_id.as_deref().unwrap_or_default());
        }
        if look.saved > 0 {
            tracing::error!(stream = %topic, saved = look.saved, "Events saved that Dapr had dropped: is dapr/resiliency.yaml in force?");
            metrics.reconcile_saved(Topic::of(&topic), look.saved);
        }
        reconciler.looked(&topic, &look).await?;
    }
    Ok(())
}

/// Everything published to these streams before it is in the inbox; none: nobody has looked at any yet.
///
/// # Errors
///
/// The database's.
pub async fn watermark(
    connection: &mut sqlx::PgConnection,
    streams: &[String; 3],
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar(include_str!("sql/watermark.sql")).bind(streams.as_slice()).fetch_one(connection).await
}
