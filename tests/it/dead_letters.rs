//! Many dead rows at once: a run over a frozen selection, that is seen, cancelled, and killed without harm.

use rig::behaviour::Behaviour;
use rig::wait;
use rig::worker::{Worker, WorkerSpec};
use serde_json::Value;

use crate::commands::Desk;
use crate::scene::SOON;

const DEAD: &str = "select count(*) from order_worker.pending where state = 'dead'";
const SKIPPED: &str = "select count(*) from order_worker.outbox_outcomes where outcome = 'skipped'";

/// So many announcements that were given up, each of an order of its own.
async fn with_dead(name: &str, rows: u32) -> Desk {
    let desk = Desk::start(name).await;
    die(&desk, 1, rows).await;
    desk
}

async fn die(desk: &Desk, from: u32, to: u32) {
    desk.shop.place(&(from..=to).map(|n| format!("d{n}")).collect::<Vec<_>>()).await;
    let announce = format!(
        "select order_worker.announce('order.return.requested', 'd' || n, '{{}}', 'dead ' || n) from generate_series({from}, {to}) n"
    );
    desk.shop.execute(&announce).await;
    desk.shop
        .execute("update order_worker.pending set state = 'dead', attempts = 9, last_error = 'no answer' where queue = 'dapr' and state = 'ready'")
        .await;
}

async fn runs(desk: &Desk) -> Vec<Value> {
    desk.json(&["dead", "runs"]).await.as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_is_frozen_and_goes_batch_by_batch_beside_the_command() {
    let desk = with_dead("dead_frozen", 1_234).await;
    let asked = ["dead", "redrive", "--queue", "dapr", "--reason", "it answers", "--confirm", "1234"];
    let detached = desk.json(&[&asked[..], &["--detach"]].concat()).await;
    assert_eq!((&detached[0]["rows"], &detached[0]["outcome"]), (&1_234.into(), &"waiting".into()), "{detached}");
    // What dies after that is not in it, and what somebody has mended meanwhile is left alone.
    die(&desk, 2_001, 2_010).await;
    desk.shop.execute("delete from order_worker.pending where queue = 'dapr' and key = 'd7'").await;
    let (worker, _callback) = desk.direct.worker().await;
    wait::until("the run to end", SOON, async || runs(&desk).await[0]["outcome"] == "succeeded").await;
    let run = &runs(&desk).await[0];
    assert_eq!((&run["seen"], &run["items"], &run["actor"]), (&1_234.into(), &1_233.into(), &"ada".into()), "{run}");
    wait::until("all to be sent", SOON, async || desk.direct.sidecar.count() == 1_233).await;
    assert_eq!(desk.shop.count(DEAD).await, 10);
    assert_eq!(
        desk.shop.count("select batches::bigint from order_worker.cron_runs where job = 'dead_letters'").await,
        3
    );
    drop(worker);
    // The command makes it itself where no worker is, when it is told so: nothing is judged by settings.
    let said = desk.says(&["dead", "skip", "--queue", "dapr", "--reason", "told by hand", "--here"]).await;
    assert_eq!(said, "10 rows skipped\n");
    assert_eq!(desk.shop.count(SKIPPED).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cancelled_stops_behind_its_batch_and_a_pause_refuses_a_new_one() {
    let desk = with_dead("dead_cancelled", 1_100).await;
    let skip = ["dead", "skip", "--queue", "dapr", "--reason", "told by hand", "--confirm", "1100"];
    let id = desk.json(&[&skip[..], &["--detach"]].concat()).await[0]["id"].to_string();
    // One batch is made, by a worker that dies behind it.
    let spec = WorkerSpec { name: "dies".into(), ..desk.direct.worker.replica() }
        .env("FAILPOINTS", "cron-after-commit=1*return");
    Worker::spawn(spec).wait_exit(SOON).await;
    assert_eq!(desk.shop.count(SKIPPED).await, 500);

    let would = desk.says(&["cron", "cancel", &id, "--reason", "wrong ones", "--dry-run"]).await;
    assert!(would.contains("would be ended"), "{would}");
    assert_eq!(runs(&desk).await[0]["outcome"], "running");
    desk.says(&["cron", "cancel", &id, "--reason", "wrong ones"]).await;
    let run = &runs(&desk).await[0];
    assert_eq!((&run["outcome"], &run["items"]), (&"failed".into(), &500.into()), "{run}");
    assert_eq!(run["error"], "cancelled by ada: wrong ones");
    let (code, _, stderr) = desk.run(&["cron", "cancel", &id, "--reason", "again"]).await;
    assert!(code == 1 && stderr.contains("has ended already"), "{stderr}");
    let (_worker, _callback) = desk.direct.worker().await;
    assert_eq!((desk.shop.count(SKIPPED).await, desk.shop.count(DEAD).await), (500, 600));

    desk.says(&["queue", "pause", "cron", "--reason", "a look"]).await;
    for asked in [&["dead", "redrive", "--all", "--confirm", "600"][..], &["inbox", "replay", "--since", "1h"]] {
        let (code, _, stderr) = desk.run(asked).await;
        assert!(code == 1 && stderr.contains("cron is paused") && stderr.contains("queue resume cron"), "{stderr}");
    }
    assert_eq!(runs(&desk).await.len(), 1);
    let audited = desk.audited().await;
    assert!(audited.iter().any(|line| line == "ada cron cancel dead_letters wrong ones"), "{audited:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_between_any_two_steps_of_a_run_redrives_each_row_once() {
    let desk = with_dead("dead_killed", 700).await;
    desk.direct.sidecar.behaviours().set(Behaviour::Answer);
    desk.says(&["dead", "redrive", "--all", "--confirm", "700", "--reason", "it answers", "--detach"]).await;
    for (n, place) in ["cron-after-take", "cron-before-commit", "cron-after-commit"].into_iter().enumerate() {
        let spec = WorkerSpec { name: format!("dies-{n}"), ..desk.direct.worker.replica() }
            .env("FAILPOINTS", format!("{place}=1*return"));
        Worker::spawn(spec).wait_exit(SOON).await;
    }
    let (_worker, _callback) = desk.direct.worker().await;
    wait::until("the run to end", SOON, async || runs(&desk).await[0]["outcome"] == "succeeded").await;
    assert_eq!(runs(&desk).await[0]["items"], 700);
    wait::until("all to be sent", SOON, async || desk.shop.count(DEAD).await == 0).await;
    desk.shop.settled(SOON).await;
    let published = desk.direct.sidecar.published();
    let ids: std::collections::BTreeSet<_> =
        published.iter().filter_map(|one| one.event_id().map(str::to_owned)).collect();
    assert_eq!(ids.len(), 700);
}
