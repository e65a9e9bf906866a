//! A pod of the chart that is stopped: worker and sidecar get SIGTERM at once, with the times of the chart's annotations.

use std::time::{Duration, Instant};

use futures::StreamExt;
use rig::chart::{self, only, rendered};
use rig::payment::{CONFIRMED, confirmed, json};
use rig::publisher::Message;
use rig::stack::Stack;
use rig::wait;
use rig::worker::Worker;
use sqlx::PgPool;

const WORKER: &str = env!("CARGO_BIN_EXE_order-worker");
const LIMIT: Duration = Duration::from_secs(60);
const ORDERS: usize = 2000;

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_stopped_finishes_what_it_has_in_hand_within_its_grace_and_nothing_is_announced_twice() {
    let deployment = only(&rendered(&chart::values("minimal")), "Deployment")["spec"]["template"].clone();
    let annotation = |name: &str| deployment["metadata"]["annotations"][name].as_str().unwrap().to_owned();
    let args = [
        ("--dapr-block-shutdown-duration", annotation("dapr.io/block-shutdown-duration")),
        ("--dapr-graceful-shutdown-seconds", annotation("dapr.io/graceful-shutdown-seconds")),
    ];
    let grace = Duration::from_secs(deployment["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap());
    let stack = Stack::start_with("stopping", WORKER, |daprd| {
        daprd.args.extend(args.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]));
    })
    .await;
    let shop = PgPool::connect(&stack.worker.database_url).await.unwrap();
    let orders: Vec<String> = (0..ORDERS).map(|n| format!("o{n}")).collect();
    rig::orders::place_unreserved(&shop, &orders).await;
    let worker = Worker::start(stack.worker.clone()).await;
    stack.daprd.wait_subscribed(CONFIRMED).await;
    let count = async |sql: &'static str| -> i64 { sqlx::query_scalar(sql).fetch_one(&shop).await.unwrap() };
    let accepted = "select count(*) from order_worker.inbox_keys";
    let unsent = "select count(*) from order_worker.pending";
    let held = "select (select count(*) from order_worker.lanes where owner is not null) + (select count(*) from order_worker.workers)";

    let publish = async |order: &String| {
        let message = Message::new(CONFIRMED, order, json(&confirmed(order, order, "10.10")));
        stack.publisher.publish(&message).await.unwrap();
    };
    let publishing = futures::stream::iter(&orders).map(publish).buffer_unordered(16).collect::<()>();
    let stopping = async {
        wait::until("some to be announced", LIMIT, async || stack.subscriber.count() > 50).await;
        let began = Instant::now();
        worker.terminate();
        stack.daprd.terminate();
        assert!(worker.wait_exit(grace).await.success());
        let done = (count(accepted).await, count(held).await);
        stack.daprd.wait_exit(grace.saturating_sub(began.elapsed())).await;
        done
    };
    let ((), (taken, held)) = tokio::join!(publishing, stopping);
    assert!(taken < i64::try_from(ORDERS).unwrap(), "all {taken} were taken before it was stopped");
    assert_eq!(held, 0, "another may go on at once with what waits");
    let logs = worker.logs();
    assert!(logs.trim_end().ends_with("order-worker stopped: nothing is in hand"), "{}", worker.log_tail());
    assert!(!logs.contains("Queue pauses"), "its sidecar left it alone:\n{logs}");

    // The pod that comes in its place takes the rest.
    let (_, ()) = tokio::join!(stack.daprd.restart(), worker.restart());
    let confirmed = "select count(*) from orders where status = 'payment_confirmed'";
    let all = i64::try_from(ORDERS).unwrap();
    let through = async || count(confirmed).await == all && count(unsent).await == 0;
    // What the stopped sidecar had read and not delivered comes once the component's processingTimeout is over, a minute later.
    wait::until_or("the rest", LIMIT * 5, || worker.log_tail(), through).await;
    wait::until("the rest of the announcements", LIMIT, async || stack.subscriber.count() >= ORDERS).await;
    assert_eq!(stack.subscriber.count(), ORDERS, "each once");
}
