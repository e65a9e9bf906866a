//! What operators find out and mend: events, dead letters, quarantine, incidents, one order's story, sending again, the proof.

use rig::callback::Event;
use rig::payment::{CONFIRMED, amount, confirmed, json};
use rig::wait;
use serde_json::{Value, json};

use crate::commands::Desk;
use crate::scene::{SOON, confirmation};

/// A desk with a worker on it, and orders `o1` to `o3`.
async fn at_work(name: &str, settings: &[(&str, &str)]) -> (Desk, rig::worker::Worker, rig::callback::Callback) {
    let mut desk = Desk::start(name).await;
    desk.shop.place(&["o1", "o2", "o3"].map(str::to_owned)).await;
    for (name, value) in settings {
        desk.direct.worker = desk.direct.worker.clone().env(name, value);
    }
    let (worker, callback) = desk.direct.worker().await;
    (desk, worker, callback)
}

fn little(event_id: &str, payment_id: &str, order_id: &str) -> Event {
    let mut little = confirmed(payment_id, order_id, "10.10");
    little.amount = amount("10.09");
    Event::new(CONFIRMED, event_id, json_bytes(&little))
}

fn json_bytes(body: &impl serde::Serialize) -> Vec<u8> {
    json(body)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_listed_grouped_and_shown_with_what_is_personal_masked() {
    let (desk, _worker, callback) = at_work("op_events", &[]).await;
    for (event, payment, order) in [("e1", "p1", "o1"), ("e2", "p2", "o1"), ("e3", "p3", "o2")] {
        callback.event(&confirmation(event, payment, order)).await.unwrap();
    }
    let personal = json!({
        "event_type": "payment.confirmed", "payment_id": "p4", "order_id": "o3", "amount": 10.10, "currency": "USD", "status": "confirmed",
        "timestamp": "2026-01-01T00:00:00Z", "metadata": { "email": "ada@example.org" },
    });
    callback.event(&Event::new(CONFIRMED, "e4", personal.to_string().into_bytes())).await.unwrap();
    desk.shop.settled(SOON).await;

    let ids = async |args: &[&str]| -> Vec<String> {
        let list = desk.json(&[&["inbox", "list"], args].concat()).await;
        list.as_array().unwrap().iter().map(|one| one["event_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&[]).await, ["e4", "e3", "e2", "e1"]);
    assert_eq!(ids(&["--order", "o1"]).await, ["e2", "e1"]);
    assert_eq!(ids(&["--outcome", "rejected"]).await, ["e2"]);
    assert_eq!(ids(&["--payment", "p3", "--since", "1h"]).await, ["e3"]);
    assert_eq!(ids(&["--until", "1h"]).await, [""; 0]);
    assert_eq!(ids(&["--because", "had paid"]).await, ["e2"]);
    let groups = desk.json(&["inbox", "list", "--group"]).await;
    let counts: Vec<_> =
        groups.as_array().unwrap().iter().map(|one| (one["outcome"].clone(), one["events"].clone())).collect();
    assert_eq!(counts, [("applied".into(), 3.into()), ("rejected".into(), 1.into())]);

    let shown = desk.json(&["inbox", "show", "e4"]).await;
    assert_eq!((&shown[0]["body"]["metadata"], &shown[0]["body"]["order_id"]), (&"***".into(), &"o3".into()));
    assert!(!desk.says(&["inbox", "show", "e4"]).await.contains("ada@example.org"));
    assert_eq!(desk.audited().await, [""; 0]);
    let revealed = desk.json(&["inbox", "show", "e4", "--reveal", "--reason", "ticket 42"]).await;
    assert_eq!(revealed[0]["body"]["metadata"]["email"], "ada@example.org");
    assert_eq!(desk.audited().await, ["ada inbox show --reveal e4 ticket 42"]);
    let (code, _, stderr) = desk.run(&["inbox", "show", "nothing"]).await;
    assert!(code == 1 && stderr.contains("there is no event nothing"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_payment_is_approved_or_rejected_and_its_incident_closed() {
    let (desk, _worker, callback) = at_work("op_held", &[("ORDER_WORKER_INBOX_AMOUNTMISMATCH", "hold")]).await;
    callback.event(&little("e1", "p1", "o1")).await.unwrap();
    callback.event(&little("e2", "p2", "o2")).await.unwrap();
    let held = async || {
        let list = desk.json(&["inbox", "list", "--outcome", "held"]).await;
        list.as_array().unwrap().iter().map(|one| one["id"].to_string()).collect::<Vec<_>>()
    };
    wait::until("both to be held", SOON, async || held().await.len() == 2).await;
    let ids = held().await;
    let would = desk.says(&["inbox", "approve", &ids[1], "--reason", "a discount", "--dry-run"]).await;
    assert!(would.contains("nothing was changed"), "{would}");
    assert_eq!(held().await.len(), 2);
    desk.says(&["inbox", "approve", &ids[1], "--reason", "a discount"]).await;
    desk.says(&["inbox", "reject", &ids[0], "--reason", "refunded"]).await;
    desk.shop.settled(SOON).await;
    assert_eq!(
        (desk.shop.status("o1").await, desk.shop.status("o2").await),
        ("payment_confirmed".into(), "pending".into())
    );
    assert_eq!(desk.json(&["incident", "list"]).await, json!([]));
    let (code, _, stderr) = desk.run(&["inbox", "approve", &ids[0], "--reason", "again"]).await;
    assert!(code == 1 && stderr.contains("none of"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_events_are_grouped_edited_redriven_and_skipped() {
    let (desk, _worker, callback) = at_work("op_dead", &[("ORDER_WORKER_INBOX_WAITFORORDER", "0s")]).await;
    let text_amount = r#"{"event_type":"payment.confirmed","payment_id":"p1","order_id":"o1","amount":"ten","currency":"USD","status":"confirmed","timestamp":"2026-01-01T00:00:00Z"}"#;
    callback.event(&Event::new(CONFIRMED, "e1", text_amount.into())).await.unwrap();
    for order in ["late-1", "late-2"] {
        callback.event(&confirmation(&format!("e-{order}"), &format!("p-{order}"), order)).await.unwrap();
    }
    let dead = "select count(*) from order_worker.pending where state = 'dead'";
    wait::until("three to be dead", SOON, async || desk.shop.count(dead).await == 3).await;
    let groups = desk.json(&["dead", "list"]).await;
    assert_eq!(groups.as_array().unwrap().len(), 2, "{groups}");
    assert_eq!(groups[0]["rows"], 2);

    // The late orders appear: what waits for them is tried again.
    desk.shop.place(&["late-1", "late-2"].map(str::to_owned)).await;
    let listed = desk.json(&["dead", "redrive", "--because", "did not appear", "--dry-run"]).await;
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(desk.shop.count(dead).await, 3);
    let said = desk.says(&["dead", "redrive", "--because", "did not appear", "--reason", "they are there now"]).await;
    assert_eq!(said, "2 rows redriven\n");
    desk.shop.settled(SOON).await;
    assert_eq!(desk.shop.status("late-2").await, "payment_confirmed");

    // The one with a wrong amount is mended, and its old body kept.
    let letter = desk.json(&["dead", "list", "--queue", "inbox"]).await[0].clone();
    let id = letter["id"].to_string();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "no json").unwrap();
    let edit = |more: &'static [&'static str]| {
        let args = ["dead", "edit", &id, "--body", file.path().to_str().unwrap(), "--reason", "the amount was text"];
        [&args.map(str::to_owned)[..], &more.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>()].concat()
    };
    let run = async |args: Vec<String>| desk.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (code, _, stderr) = run(edit(&[])).await;
    assert!(code == 1 && stderr.contains("the new body is no JSON"), "{stderr}");
    std::fs::write(file.path(), text_amount.replace("\"ten\"", "10.10")).unwrap();
    assert_eq!(run(edit(&["--dry-run"])).await.0, 0);
    assert_eq!(desk.shop.count(dead).await, 1);
    assert_eq!(run(edit(&[])).await.0, 0);
    desk.shop.settled(SOON).await;
    assert_eq!(desk.shop.status("o1").await, "payment_confirmed");
    let kept = desk
        .shop
        .text("select convert_from(old_body, 'UTF8') from order_worker.edits where edited_by = $1", "ada")
        .await;
    assert_eq!(kept, text_amount);

    callback.event(&Event::new(CONFIRMED, "e9", b"nonsense".to_vec())).await.unwrap();
    wait::until("it to be dead", SOON, async || desk.shop.count(dead).await == 1).await;
    let (code, _, stderr) = desk.run(&["dead", "skip", "--reason", "x"]).await;
    assert!(code == 2 && stderr.contains("nothing says which rows"), "{stderr}");
    assert_eq!(
        desk.says(&["dead", "skip", "--queue", "inbox", "--reason", "a test of theirs"]).await,
        "1 rows skipped\n"
    );
    assert_eq!(desk.shop.outcomes("e9").await, [("rejected".to_owned(), Some("skipped: a test of theirs".to_owned()))]);
    let audited = desk.audited().await;
    assert_eq!(audited.len(), 3, "{audited:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skipped_announcement_lets_the_later_ones_of_its_order_go() {
    let (desk, _worker, callback) = at_work(
        "op_skip",
        &[
            ("ORDER_WORKER_QUEUE_DAPR_MAXATTEMPTS", "1"),
            ("ORDER_WORKER_QUEUE_LEASE", "2s"),
            ("ORDER_WORKER_DATABASE_IDLEINTRANSACTIONTIMEOUT", "1s"),
        ],
    )
    .await;
    let fails = rig::behaviour::Behaviour::Refuse(tonic::Code::Internal);
    desk.direct.sidecar.behaviours().set_for("o1", fails);
    callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    // One that fails alone is not given up: others have to succeed beside it.
    let mut returns = 0;
    let dead = "select count(*) from order_worker.outbox_status where state = 'dead'";
    wait::until("it to be dead", SOON, async || {
        returns += 1;
        let announce = format!("select order_worker.announce('order.return.requested', 'o2', '{{}}', 'r{returns}')");
        desk.shop.execute(&announce).await;
        desk.shop.count(dead).await == 1
    })
    .await;
    desk.shop
        .execute(
            "select order_worker.confirm_order('o1', null, 'c1'); select order_worker.ship_order('o1', null, 'c2')",
        )
        .await;
    let parked = async || desk.json(&["dead", "list", "--queue", "dapr"]).await[0]["parked"] == 2;
    wait::until("two to be parked", SOON, parked).await;
    desk.direct.sidecar.behaviours().set_for("o1", rig::behaviour::Behaviour::Answer);
    desk.says(&["dead", "skip", "--key", "o1", "--reason", "told by hand"]).await;
    desk.shop.settled(SOON).await;
    let story = desk.json(&["order", "show", "o1"]).await;
    let states: Vec<_> = story["story"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["kind"] == "announcement")
        .map(|one| one["state"].clone())
        .collect();
    assert_eq!(states, ["skipped", "sent", "sent"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_event_is_accepted_or_dropped() {
    let (desk, _worker, callback) = at_work("op_quarantine", &[]).await;
    callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    callback.event(&confirmation("e1", "p2", "o2")).await.unwrap();
    callback.event(&confirmation("e1", "p3", "o3")).await.unwrap();
    let list = desk.json(&["quarantine", "list"]).await;
    let ids: Vec<_> = list.as_array().unwrap().iter().map(|one| one["id"].to_string()).collect();
    assert_eq!(ids.len(), 2, "{list}");
    desk.says(&["quarantine", "resolve", &ids[0], "--accept", "--reason", "an id used twice"]).await;
    desk.says(&["quarantine", "resolve", &ids[1], "--drop", "--reason", "a forgery"]).await;
    desk.shop.settled(SOON).await;
    assert_eq!(
        (desk.shop.status("o2").await, desk.shop.status("o3").await),
        ("payment_confirmed".into(), "pending".into())
    );
    assert_eq!(desk.json(&["quarantine", "list"]).await, json!([]));
    assert_eq!(desk.json(&["incident", "list"]).await, json!([]), "their incidents are closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_is_shown_with_the_next_step_and_resolved() {
    let (desk, _worker, callback) = at_work("op_incident", &[]).await;
    callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    callback.event(&confirmation("e2", "p2", "o1")).await.unwrap();
    desk.shop.settled(SOON).await;
    let list = desk.json(&["incident", "list"]).await;
    assert_eq!((list.as_array().unwrap().len(), &list[0]["kind"]), (1, &"paid_twice".into()));
    let id = list[0]["id"].to_string();
    assert!(desk.says(&["incident", "show", &id]).await.contains("give the money back"));
    assert_eq!(
        desk.says(&["incident", "resolve", &id, "--reason", "refunded"]).await,
        format!("incident {id} is resolved\n")
    );
    assert_eq!(desk.json(&["incident", "list"]).await, json!([]));
    assert_eq!(desk.json(&["incident", "list", "--all"]).await[0]["resolved_by"], "ada");
    assert_eq!(desk.run(&["incident", "resolve", &id, "--reason", "again"]).await.0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_are_sent_again_under_their_first_ids() {
    let (desk, _worker, callback) = at_work("op_resend", &[]).await;
    for n in 1..=3 {
        callback.event(&confirmation(&format!("e{n}"), &format!("p{n}"), &format!("o{n}"))).await.unwrap();
    }
    desk.shop.settled(SOON).await;
    let ids = || -> Vec<String> {
        let mut ids: Vec<_> = desk.direct.sidecar.take().iter().map(|one| one.event_id().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let first = ids();
    assert_eq!(
        desk.says(&["outbox", "resend", "--since", "1h", "--dry-run"]).await,
        "3 announcements would be sent again, under their first ids\n"
    );
    assert_eq!(
        desk.says(&["outbox", "resend", "--since", "1h", "--reason", "Redis lost its data"]).await,
        "3 announcements are sent again, under their first ids\n"
    );
    wait::until("them to be published", SOON, async || desk.direct.sidecar.count() == 3).await;
    desk.shop.settled(SOON).await;
    assert_eq!(ids(), first);
    assert_eq!(desk.direct.warehouse.calls().len(), 3, "the warehouse is not called again");
    let (code, _, stderr) = desk.run(&["outbox", "resend"]).await;
    assert!(code == 2 && stderr.contains("--since 2h"), "{stderr}");
    let shown = desk.json(&["outbox", "show", &first[0]]).await;
    assert_eq!((&shown[0]["state"], &shown[0]["body"]["user_id"]), (&"sent".into(), &"***".into()));
    assert_eq!(desk.run(&["audit"]).await.0, 0, "sending again breaks no rule");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proof_finds_each_kind_of_violation_and_nothing_else() {
    let (desk, _worker, callback) = at_work("op_proof", &[]).await;
    for n in 1..=3 {
        callback.event(&confirmation(&format!("e{n}"), &format!("p{n}"), &format!("o{n}"))).await.unwrap();
    }
    desk.says(&["cron", "run", "cod_auto_confirm"]).await;
    desk.shop.execute("select order_worker.confirm_order('o3', null, 'c1')").await;
    desk.shop.settled(SOON).await;
    let (code, clean, stderr) = desk.run(&["audit", "-o", "json"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""), "{clean}");

    let event = "(select id from order_worker.inbox where event_id = 'e1')";
    let message = "(select min(id) from order_worker.outbox where subject = 'o1' and channel = 'dapr')";
    for (check, plant, undo) in [
        ("event_has_one_end", format!("delete from order_worker.inbox_outcomes where id = {event}"), "insert into order_worker.inbox_outcomes (day, id, outcome) select day, id, 'applied' from order_worker.inbox where event_id = 'e1'".to_owned()),
        ("event_has_one_end", format!("insert into order_worker.pending (queue, id, day, lane, key, state) select 'inbox', id, day, 0, 'o1', 'dead' from order_worker.inbox where id = {event}"), format!("delete from order_worker.pending where id = {event}")),
        ("message_has_one_end", format!("create table kept as select * from order_worker.outbox_outcomes where id = {message}; delete from order_worker.outbox_outcomes where id = {message}"), "insert into order_worker.outbox_outcomes select * from kept; drop table kept".to_owned()),
        ("change_is_announced", "insert into order_status_history (order_id, old_status, new_status, created_at) values ('o1', 'payment_confirmed', 'confirmed', clock_timestamp()); update orders set status = 'confirmed' where id = 'o1'".to_owned(), "delete from order_status_history where order_id = 'o1' and new_status = 'confirmed'; update orders set status = 'payment_confirmed' where id = 'o1'".to_owned()),
        ("announced_is_changed", "create table kept as select * from order_status_history where order_id = 'o2'; delete from order_status_history where order_id = 'o2'".to_owned(), "insert into order_status_history overriding system value select * from kept; drop table kept".to_owned()),
        ("message_has_a_cause", format!("update order_worker.outbox set cause = repeat('0', 64) where id = {message}"), format!("update order_worker.outbox set cause = (select encode(key, 'hex') from order_worker.inbox where event_id = 'e1') where id = {message}")),
        ("status_is_the_last_change", "update orders set status = 'shipped' where id = 'o1'".to_owned(), "update orders set status = 'payment_confirmed' where id = 'o1'".to_owned()),
        ("confirm_before_release", "insert into order_worker.outbox (day, id, event_id, channel, topic, subject, body, cause) select day, 999998, gen_random_uuid(), channel, 'ReleaseReservation', subject, body, cause from order_worker.outbox where subject = 'o1' and channel = 'warehouse'; insert into order_worker.outbox_outcomes (day, id, outcome, attempts, settled_at) select day, id, 'sent', 1, now() - interval '1 hour' from order_worker.outbox where id = 999998".to_owned(), "delete from order_worker.outbox_outcomes where id = 999998; delete from order_worker.outbox where id = 999998".to_owned()),
        ("item_is_answered", "update order_items set reservation_status = 'confirming' where order_id = 'o1'".to_owned(), "update order_items set reservation_status = 'confirmed' where order_id = 'o1'".to_owned()),
        ("pending_has_a_body", "insert into order_worker.pending (queue, id, day, lane, key, state) values ('dapr', 999999, order_worker.today(), 0, 'o1', 'dead')".to_owned(), "delete from order_worker.pending where id = 999999".to_owned()),
        ("applied_is_announced", "create table kept as select * from order_worker.outbox_keys; delete from order_worker.outbox_keys".to_owned(), "insert into order_worker.outbox_keys select * from kept; drop table kept".to_owned()),
    ] {
        desk.shop.execute(&plant).await;
        let (code, found, _) = desk.run(&["audit", "--since", "1d", "-o", "json"]).await;
        let found: Value = serde_json::from_str(&found).unwrap();
        let broken: Vec<_> = found["checks"].as_array().unwrap().iter().filter(|one| one["violations"] != 0).map(|one| one["check"].as_str().unwrap()).collect();
        assert_eq!((code, broken.as_slice()), (3, &[check][..]), "{plant}: {found}");
        assert!(found["shown"][0]["mend"].as_str().unwrap().starts_with("order-worker "), "{found}");
        desk.shop.execute(&undo).await;
        assert_eq!(desk.run(&["audit"]).await.0, 0, "{undo}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hurts_one_day_is_in_the_gauges() {
    let (desk, worker, callback) = at_work("op_gauges", &[]).await;
    let gauge = async |name: &str| worker.metric(&format!("order_worker_{name}")).await;
    let becomes = async |name: &'static str, what: fn(f64) -> bool| {
        wait::until(name, SOON, async || what(gauge(name).await)).await;
    };
    becomes("audit_age_seconds", |age| age == -1.0).await;
    // To the end of the week in which the seventh day is.
    becomes("partitions_ready_days", |days| (7.0..14.0).contains(&days)).await;
    assert_eq!((gauge("quarantined").await, gauge("audit_violations").await), (0.0, 0.0));

    // A transaction that somebody has left open, with a snapshot.
    let mut open = desk.shop.pool.begin().await.unwrap();
    sqlx::query("set transaction isolation level repeatable read").execute(&mut *open).await.unwrap();
    sqlx::query("select count(*) from orders").execute(&mut *open).await.unwrap();
    callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    callback.event(&confirmation("e1", "p2", "o2")).await.unwrap();
    becomes("database_oldest_transaction_seconds", |age| age >= 4.0).await;
    open.rollback().await.unwrap();
    becomes("database_oldest_transaction_seconds", |age| age == 0.0).await;
    becomes("quarantined", |count| count == 1.0).await;

    desk.shop.execute("update orders set status = 'shipped' where id = 'o1'").await;
    assert_eq!(desk.run(&["audit"]).await.0, 3);
    becomes("audit_violations", |count| count == 1.0).await;
    desk.shop.execute("update orders set status = 'payment_confirmed' where id = 'o1'").await;
    assert_eq!(desk.run(&["audit"]).await.0, 0);
    becomes("audit_violations", |count| count == 0.0).await;
    assert!((0.0..300.0).contains(&gauge("audit_age_seconds").await));
    let missing = "do $$ begin execute format('drop table order_worker.%I', (
        select name from order_worker.partitions() where journal = 'outbox' order by lower desc limit 1)); end $$";
    desk.shop.execute(missing).await;
    becomes("partitions_ready_days", |days| days < 7.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_shows_where_it_was_changed() {
    let (desk, _worker, _) = at_work("op_log", &[]).await;
    for _ in 0..3 {
        desk.says(&["queue", "pause", "warehouse", "--reason", "stocktaking"]).await;
        desk.says(&["queue", "resume", "warehouse", "--reason", "counted"]).await;
    }
    assert!(desk.says(&["audit", "log", "--verify"]).await.contains("the chain is whole"));
    assert_eq!(desk.json(&["audit", "log", "--limit", "2"]).await[1]["detail"]["reason"], "stocktaking");
    desk.shop.execute("update order_worker.audit_log set actor = 'nobody' where id = 2; delete from order_worker.audit_log where id = 4").await;
    let (code, stdout, _) = desk.run(&["audit", "log", "--verify"]).await;
    assert_eq!(code, 3);
    assert!(stdout.contains("it was changed") && stdout.contains("records 4 to 4 are missing"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_hand_when_its_worker_died_is_named_for_the_consumers() {
    let (desk, worker, callback) = at_work(
        "op_exposure",
        &[("ORDER_WORKER_QUEUE_LEASE", "2s"), ("ORDER_WORKER_DATABASE_IDLEINTRANSACTIONTIMEOUT", "1s")],
    )
    .await;
    desk.direct.sidecar.set(rig::behaviour::Behaviour::Hang);
    callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    let in_hand = "select count(*) from order_worker.workers where queue = 'dapr' and cardinality(in_hand) > 0";
    wait::until("it to be in hand", SOON, async || desk.shop.count(in_hand).await == 1).await;
    worker.kill9();
    desk.direct.sidecar.set(rig::behaviour::Behaviour::Answer);
    worker.restart().await;
    desk.shop.settled(SOON).await;
    let exposed = async || -> Vec<Value> {
        let exposed = desk.json(&["audit", "exposure", "--since", "1h"]).await;
        exposed
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["queue"] == "dapr")
            .map(|one| one["order_id"].clone())
            .collect()
    };
    wait::until("it to be named", SOON, async || !exposed().await.is_empty()).await;
    assert_eq!(exposed().await, ["o1"]);
}
