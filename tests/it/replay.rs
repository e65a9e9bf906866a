//! Replay: what is handled again, what is judged again, and that nothing happens twice.

use order_worker::event_id;
use rig::callback::Callback;
use rig::wait;
use rig::worker::{Worker, WorkerSpec};
use serde_json::Value;

use crate::commands::Desk;
use crate::scene::{SOON, confirmation};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("o{n}")).collect()
}

/// Confirmed payments of these orders, accepted by a worker that waits for no order, and then settled or dead.
async fn with_payments(name: &str, orders: &[String], placed: bool) -> (Desk, Worker, Callback) {
    let mut desk = Desk::start(name).await;
    desk.direct.worker = desk.direct.worker.clone().env("ORDER_WORKER_INBOX_WAITFORORDER", "0s");
    if placed {
        desk.shop.place(orders).await;
    }
    let (worker, callback) = desk.direct.worker().await;
    for order in orders {
        callback.event(&confirmation(&format!("e-{order}"), &format!("p-{order}"), order)).await.unwrap();
    }
    desk.shop.settled(SOON).await;
    (desk, worker, callback)
}

fn tally(run: &Value) -> [u64; 6] {
    let result = run.as_array().map_or(run, |runs| &runs[0]);
    let result = if result["tally"].is_null() { &result["result"] } else { &result["tally"] };
    ["seen", "unchanged", "again", "changed", "announced", "failed"].map(|key| result[key].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcements_id_is_the_same_here_and_in_the_database() {
    let desk = Desk::start("event_id").await;
    for (order, variant) in [("o1", "payment_confirmed"), ("größe", ""), ("", "x y")] {
        let id: String = sqlx::query_scalar("select order_worker.event_id('cause', 'dapr', 'topic', $1, $2)::text")
            .bind(order)
            .bind(variant)
            .fetch_one(&desk.shop.pool)
            .await
            .unwrap();
        assert_eq!(event_id("cause", "dapr", "topic", order, variant), id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_events_are_handled_again() {
    let orders = names(5);
    let (desk, _worker, _) = with_payments("replay_dead", &orders, false).await;
    assert_eq!(desk.shop.count("select count(*) from order_worker.pending where state = 'dead'").await, 5);
    desk.shop.place(&orders).await;
    let would = desk.says(&["inbox", "replay", "--outcome", "dead", "--dry-run"]).await;
    assert!(would.contains("@@ 5 events") && would.contains("+ handled again by the inbox"), "{would}");
    assert_eq!(desk.shop.count("select count(*) from order_worker.cron_runs where job = 'inbox_replay'").await, 0);
    let run = desk.json(&["inbox", "replay", "--outcome", "dead", "--reason", "the orders are there now"]).await;
    assert_eq!(tally(&run), [5, 0, 5, 0, 0, 0]);
    desk.shop.settled(SOON).await;
    for order in &orders {
        assert_eq!(desk.shop.history(order).await, ["payment_confirmed"]);
    }
    assert_eq!(desk.direct.sidecar.count(), 5);
    assert_eq!(desk.audited().await.len(), 1);
    let (code, _, stderr) = desk.run(&["inbox", "replay"]).await;
    assert!(code == 2 && stderr.contains("nothing says which events"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_judged_wrongly_is_judged_by_todays_code_and_what_stands_is_left_alone() {
    let (desk, _worker, callback) = with_payments("replay_judged", &names(3), true).await;
    // As wrong code would have left it: the payment of o9 was rejected, and nothing speaks against it now.
    desk.shop.place_one("o9").await;
    desk.shop.execute("update orders set status = 'cancelled' where id = 'o9'").await;
    callback.event(&confirmation("e-o9", "p-o9", "o9")).await.unwrap();
    desk.shop.settled(SOON).await;
    desk.shop.execute("update orders set status = 'pending' where id = 'o9'").await;
    // The others have gone on: judged by their status alone, their payments would be rejected.
    desk.shop.execute("select order_worker.cancel_order('o0', 'changed my mind', 'c0'); select order_worker.confirm_order('o1', null, 'c1')").await;
    desk.shop.settled(SOON).await;
    let before = (desk.shop.count("select count(*) from order_status_history").await, desk.direct.sidecar.count());

    let would = desk.says(&["inbox", "replay", "--since", "1h", "--dry-run"]).await;
    for line in [
        "@@ 1 events, as e-o9 of order o9",
        "- payment confirmed: rejected",
        "+ payment confirmed: applied",
        "+ orders.status payment_confirmed",
        "+ orders.order.status_changed payment_confirmed",
        "+ warehouse ConfirmReservation (1)",
        "4 events in ",
        " 3 unchanged, 0 would be handled again, 1 would end otherwise",
    ] {
        assert!(would.contains(line), "{line} is not in\n{would}");
    }
    assert_eq!(desk.shop.count("select count(*) from order_status_history").await, before.0, "nothing was changed");

    for expected in [[4, 3, 0, 1, 0, 0], [4, 4, 0, 0, 0, 0]] {
        let run = desk.json(&["inbox", "replay", "--since", "1h", "--reason", "wrong code ran"]).await;
        assert_eq!(tally(&run), expected);
        desk.shop.settled(SOON).await;
        assert_eq!(desk.shop.count("select count(*) from order_status_history").await, before.0 + 1);
        assert_eq!(desk.direct.sidecar.count(), before.1 + 1);
    }
    assert_eq!(desk.shop.history("o9").await, ["payment_confirmed"]);
    assert_eq!(desk.shop.outcomes("e-o9").await, [("applied".to_owned(), None)]);
    let kept = desk.shop.text("select outcome from order_worker.replaced_outcomes where outcome > $1", "").await;
    assert_eq!(kept, "rejected");
    assert_eq!(
        desk.shop.incidents("o0").await,
        [""; 0],
        "no incident about a payment that came before the cancellation"
    );
    assert_eq!(desk.run(&["audit"]).await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_of_a_selection_are_sent_again_under_their_first_ids() {
    let (desk, _worker, _) = with_payments("replay_announce", &names(3), true).await;
    let ids = || -> Vec<String> {
        let mut ids: Vec<_> = desk.direct.sidecar.take().iter().map(|one| one.event_id().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let first = ids();
    let run = desk.json(&["inbox", "replay", "--since", "1h", "--announce"]).await;
    assert_eq!(tally(&run), [3, 3, 0, 0, 3, 0]);
    desk.shop.settled(SOON).await;
    assert_eq!(ids(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_whose_worker_is_killed_goes_on_and_finishes_once() {
    let orders = names(2_500);
    let (desk, worker, _) = with_payments("replay_killed", &orders, false).await;
    desk.shop.place(&orders).await;
    worker.kill9();
    let asked =
        desk.json(&["inbox", "replay", "--outcome", "dead", "--detach", "--confirm", "2500", "--reason", "them"]).await;
    assert_eq!(asked[0]["outcome"], "waiting");
    let spec = |name: &str, failpoints: &str| {
        WorkerSpec { name: name.into(), ..desk.direct.worker.replica() }.env("FAILPOINTS", failpoints)
    };
    // Not waited for: its end may come before it has told that it is ready.
    Worker::spawn(spec("killed", "cron-before-commit=1*off->1*return")).wait_exit(SOON).await;
    let _taker = Worker::start(spec("taker", "")).await;
    let ended = async || desk.json(&["inbox", "replays"]).await[0]["outcome"] == "succeeded";
    wait::until("the replay to end", SOON, ended).await;
    assert_eq!(tally(&desk.json(&["inbox", "replays"]).await), [2_500, 0, 2_500, 0, 0, 0]);
    desk.shop.settled(SOON).await;
    assert_eq!(
        desk.shop.count("select count(*) from order_status_history where new_status = 'payment_confirmed'").await,
        2_500
    );
    assert_eq!(desk.run(&["audit"]).await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_fails_stops_the_replay_before_the_rest() {
    let (desk, _worker, _) = with_payments("replay_canary", &names(90), false).await;
    let arguments = ["inbox", "replay", "--outcome", "dead", "--canary", "20%", "--stop-after", "2", "--reason", "try"];
    // The orders are still missing: what is handled again is dead again.
    let (code, stdout, stderr) = desk.run(&[&arguments[..], &["-o", "json"]].concat()).await;
    let run: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &run[0]["outcome"]), (1, &"failed".into()), "{stderr}");
    assert!(stderr.contains("of the first share failed, more than 2: the rest was not begun"), "{stderr}");
    let [seen, ..] = tally(&run);
    assert!((3..45).contains(&seen), "{seen} of 90 are about a fifth");

    desk.shop.place(&names(90)).await;
    let run = desk.json(&arguments).await;
    let [seen, _, again, ..] = tally(&run);
    assert_eq!((seen, again), (90, 90));
    desk.shop.settled(SOON).await;
    assert_eq!(desk.shop.count("select count(*) from order_status_history").await, 90);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_fails_alone_is_passed_over_and_counted() {
    let (desk, _worker, callback) = with_payments("replay_poison", &[], true).await;
    let orders = names(20);
    desk.shop.place(&orders).await;
    desk.shop.execute("update orders set status = 'cancelled'").await;
    for order in &orders {
        callback.event(&confirmation(&format!("e-{order}"), &format!("p-{order}"), order)).await.unwrap();
    }
    desk.shop.settled(SOON).await;
    desk.shop
        .execute(
            "update orders set status = 'pending';
             create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$;
             create trigger refuse before insert on order_status_history for each row when (new.order_id = 'o7') execute function refuse()",
        )
        .await;
    let arguments = ["inbox", "replay", "--outcome", "rejected", "--reason", "wrong code ran", "-o", "json"];
    let (code, stdout, stderr) = desk.run(&arguments).await;
    assert!(code == 0 && stderr.contains("event e-o7 passed over: "), "{code} {stderr}");
    assert_eq!(tally(&serde_json::from_str(&stdout).unwrap()), [20, 0, 0, 19, 0, 1]);
    desk.shop.settled(SOON).await;
    assert_eq!(
        (desk.shop.status("o7").await, desk.shop.status("o8").await),
        ("pending".into(), "payment_confirmed".into())
    );
    desk.shop.execute("update orders set status = 'pending' where id <> 'o7'; update order_worker.inbox_outcomes set outcome = 'rejected'; truncate order_worker.outbox_keys").await;
    let (code, _, stderr) =
        desk.run(&["inbox", "replay", "--order", "o7", "--stop-after", "0", "--reason", "again"]).await;
    assert!(code == 1 && stderr.contains("1 events failed, more than 0; the last, event e-o7: "), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_keeps_to_its_rate() {
    let (desk, _worker, _) = with_payments("replay_rate", &names(90), true).await;
    let began = std::time::Instant::now();
    desk.json(&["inbox", "replay", "--since", "1h", "--rate", "30"]).await;
    assert!(began.elapsed().as_secs_f64() > 2.0, "{:?}", began.elapsed());
}
