//! Whether what was published is known to be in the inbox, and what the jobs that give orders up make of it.

use sqlx::PgPool;

use super::Findings;
use crate::app::config::Config;
use crate::app::runs;
use crate::engine::terms::registered;
use crate::shop::jobs::{Evidence, Ground, Reason, Terms};

pub(super) async fn examine(config: &Config, pool: &PgPool, findings: &mut Findings) {
    let about = "reconciliation";
    let terms = runs::terms(config);
    let read = async { Evidence::read(&mut *pool.acquire().await?, &terms).await };
    let evidence = match read.await {
        Ok(evidence) => evidence,
        Err(error) => {
            return findings.broken(about, error.to_string(), "order-worker migrate, as the owner, for this role");
        }
    };
    match evidence.now_known() {
        Ok(Ground::Streams(watermark)) => {
            let age = (evidence.now - watermark).as_seconds_f64();
            findings.ok(about, format!("all that was published until {age:.0} s ago is in the inbox"));
        }
        Ok(Ground::SwitchedOff) => findings.warning(
            about,
            "switched off: order_cleanup and reservation_cleanup act by the clock, whatever waits in a stream",
            "worker.reconcile.enabled: true, and data.redis.addr of the component's Redis",
        ),
        Ok(Ground::NoEvents) => findings.warning(
            about,
            "no worker in mode event or all was ever registered in this database: order_cleanup and reservation_cleanup act by the clock",
            "nothing, where payment events are not taken in here; otherwise start a worker in mode event or all",
        ),
        Err(lack) => {
            let seen = format!("order_cleanup and reservation_cleanup give nothing up: {}", lack.why);
            let next = match lack.reason {
                Reason::Lost => "order-worker inbox reconcile, then docs/runbook.md: Redis lost its data; --accept takes note",
                Reason::NeverLooked => "run a worker in mode event or all, and see its log: order-worker inbox reconcile",
                Reason::Future => "the next look puts it right: run a worker in mode event or all",
                Reason::Behind => {
                    "see that the sidecar delivers, and that a worker in mode event or all looks every worker.reconcile.every: order-worker inbox reconcile"
                }
                Reason::CannotLook | Reason::Unreadable => {
                    "data.redis.addr, worker.reconcile.group and worker.reconcile.stream_prefix have to be the component's: order-worker inbox reconcile"
                }
            };
            // These end by themselves where all is well: soon after the start, and while messages are under way.
            match lack.reason {
                Reason::NeverLooked | Reason::Behind => findings.warning(about, seen, next),
                _ => findings.broken(about, seen, next),
            }
        }
    }
    // Every worker performs by its own settings; the one that was started last has written its down.
    if terms.streams().is_some()
        && let Ok(Some(last)) = registered::<Terms>(pool).await
        && last.terms.streams().is_none()
    {
        let seen = format!(
            "switched off in the worker that was started last, {}: its runs of order_cleanup and reservation_cleanup act by the clock",
            last.worker
        );
        findings.warning("reconciliation of others", seen, "give all workers the same worker.reconcile");
    }
    match &evidence.unreadable {
        None => findings.ok("unreadable events", "none"),
        Some(unreadable) => findings.warning(
            "unreadable events",
            format!("{unreadable}; orders placed before are not given up"),
            "order-worker dead list; order-worker dead edit, or dead skip --reason, decides about each",
        ),
    }
}
