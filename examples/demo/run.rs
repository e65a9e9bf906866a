//! The story: payments are published while the worker is killed and started again, until nothing is left to do.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures::StreamExt;
use rig::plan::Plan;
use rig::subscriber::STATUS_CHANGED;
use rig::{payment, wait};
use sqlx::PgPool;

use crate::scene::Scene;
use crate::screen::{Screen, number};

/// From one wave of payments to the next: a lease, and time to have rows in hand again.
const BETWEEN_WAVES: Duration = Duration::from_secs(4);
/// Publishes under way at once.
const IN_FLIGHT: usize = 16;
/// How long publishing, and then settling, may take at the most: beyond the 75 s after which Dapr delivers again what its app
/// never answered.
fn limit(plan: &Plan) -> Duration {
    Duration::from_secs(120) + Duration::from_millis(10) * u32::try_from(plan.messages.len()).unwrap()
}

/// Plays it and returns how often the worker was killed; panics when something takes too long.
pub async fn run(scene: &Scene, plan: &Plan, kills: usize, screen: &Screen) -> usize {
    let published = AtomicUsize::new(0);
    let publish = publish(scene, plan, kills + 1, &published, screen);
    let ((), kills) = tokio::join!(publish, kill_and_restart(scene, plan, kills, &published, screen));
    settle(scene, limit(plan), screen).await;
    kills
}

/// In waves, each at full speed: all at once would be published before the second kill, a steady trickle would find the worker
/// with little in hand.
async fn publish(scene: &Scene, plan: &Plan, waves: usize, published: &AtomicUsize, screen: &Screen) {
    let total = plan.messages.len();
    let limit = BETWEEN_WAVES * u32::try_from(waves - 1).unwrap() + limit(plan);
    let (progress, start) = (screen.bar(total), tokio::time::Instant::now());
    let publish = async |(n, message)| {
        let wave = u32::try_from(n * waves / total).unwrap();
        tokio::time::sleep_until(start + BETWEEN_WAVES * wave).await;
        let again = scene.stack.publisher.publish_until_taken(message).await;
        let done = published.fetch_add(1, Relaxed) + 1;
        progress.tell(done, || format!("{} of {} published", number(done), number(total)));
        again
    };
    let all = futures::stream::iter(plan.messages.iter().enumerate()).map(publish).buffer_unordered(IN_FLIGHT);
    let again = tokio::time::timeout(limit, all.fold(0, async |sum, again| sum + again)).await;
    let again = again.unwrap_or_else(|_| panic!("publishing took longer than {limit:?}"));
    drop(progress);
    let repeated = if again == 0 {
        String::new()
    } else {
        format!(", {} publishes repeated for want of an answer", number(again))
    };
    screen.say(format!("all {} published{repeated}", number(total)));
}

/// Kills in the middle of each wave but the last; returns how many times.
async fn kill_and_restart(scene: &Scene, plan: &Plan, kills: usize, published: &AtomicUsize, screen: &Screen) -> usize {
    let total = plan.messages.len();
    let mut dead = Vec::new();
    for n in 1..=kills {
        let caught = loop {
            let done = published.load(Relaxed);
            if done == total {
                screen.say(format!("everything was published before kill {n} could be: it is left out"));
                return n - 1;
            }
            if done >= total * (2 * n - 1) / (2 * (kills + 1))
                && let Some(caught) = kill_with_rows_in_hand(scene, &dead).await
            {
                break format!("kill {n} of {kills} (SIGKILL) at {} published: {caught}", number(done));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        screen.say(caught);
        dead = workers(&scene.pool).await;
        let start = Instant::now();
        scene.worker.restart().await;
        screen.say(format!("order-worker started again, ready after {} ms", start.elapsed().as_millis()));
    }
    kills
}

/// Kills the worker if it has rows in hand, and says how many. It is stopped while they are counted, or they would be done by the
/// time it is killed.
async fn kill_with_rows_in_hand(scene: &Scene, dead: &[String]) -> Option<String> {
    if in_hand(&scene.pool, dead).await == 0 {
        return None;
    }
    scene.worker.stop();
    let (in_hand, queues) = (in_hand(&scene.pool, dead).await, Queues::of(&scene.pool).await);
    if in_hand == 0 {
        scene.worker.cont();
        return None;
    }
    scene.worker.kill9();
    Some(format!("{} rows in hand; pending: {queues}", number(in_hand)))
}

/// Rows that the living worker is sending. Its list of them is rewritten only when it takes more: what is settled is no longer
/// pending.
async fn in_hand(pool: &PgPool, dead: &[String]) -> usize {
    let rows = "select count(*) from order_worker.workers w
                join order_worker.pending p on p.queue = w.queue and p.id = any(w.in_hand)
                where not w.worker = any($1)";
    let rows: i64 = sqlx::query_scalar(rows).bind(dead).fetch_one(pool).await.unwrap();
    usize::try_from(rows).unwrap()
}

/// The names of all workers that have a lease, and of those that died with one: a worker's name is new each time.
async fn workers(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar("select worker from order_worker.workers").fetch_all(pool).await.unwrap()
}

/// What is still to be done, by queue.
#[derive(Debug)]
struct Queues {
    inbox: usize,
    dapr: usize,
    warehouse: usize,
}

impl Queues {
    async fn of(pool: &PgPool) -> Queues {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "select queue, count(*) from order_worker.pending where state in ('ready', 'waiting', 'blocked') group by queue",
        )
        .fetch_all(pool)
        .await
        .unwrap();
        let of =
            |queue| rows.iter().find(|(name, _)| name == queue).map_or(0, |(_, rows)| usize::try_from(*rows).unwrap());
        Queues { inbox: of("inbox"), dapr: of("dapr"), warehouse: of("warehouse") }
    }

    fn none(&self) -> bool {
        self.inbox + self.dapr + self.warehouse == 0
    }
}

impl std::fmt::Display for Queues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [inbox, dapr, warehouse] = [self.inbox, self.dapr, self.warehouse].map(number);
        write!(f, "inbox {inbox}, dapr {dapr}, warehouse {warehouse}")
    }
}

/// Waits until all payments are delivered and acknowledged, all queues empty, all announcements delivered and acknowledged.
async fn settle(scene: &Scene, limit: Duration, screen: &Screen) {
    let (redis, progress) = (&scene.stack.redis, screen.spinner());
    let left = std::cell::RefCell::new(String::new());
    let explain = || format!("left to do: {}\n{}", left.borrow(), scene.worker.log_tail());
    wait::until_or("everything to be settled", limit, explain, async || {
        assert!(scene.worker.is_running(), "the worker ended by itself\n{}", scene.worker.log_tail());
        // In the direction of the data: what moves on meanwhile is seen where it arrives.
        let payments = redis.unfinished(payment::CONFIRMED, "order-worker").await
            + redis.unfinished(payment::FAILED, "order-worker").await;
        let queues = Queues::of(&scene.pool).await;
        let announcements = redis.unfinished(STATUS_CHANGED, "fulfillment").await;
        let words = format!("payments {}, {queues}, announcements {}", number(payments), number(announcements));
        progress.tell(0, || format!("left to do: {words}"));
        *left.borrow_mut() = words;
        payments + announcements == 0 && queues.none()
    })
    .await;
    drop(progress);
    screen.say("settled: every message is acknowledged, every queue is empty");
}
