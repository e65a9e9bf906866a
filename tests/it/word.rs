//! The operator's word: by whose settings something is done, whose name it has, and that what a person decided stays decided.

use rig::callback::{Callback, Event};
use rig::payment::{CONFIRMED, amount, confirmed, json as bytes};
use rig::wait;
use rig::worker::{Worker, WorkerSpec};
use serde_json::{Value, json};

use crate::commands::Desk;
use crate::console::with_users;
use crate::scene::{SOON, confirmation};

/// What workers have registered: kind and terms.
async fn registered(desk: &Desk) -> Vec<(String, Value)> {
    let sql = "select kind, terms from order_worker.worker_terms order by kind";
    sqlx::query_as(sql).fetch_all(&desk.shop.pool).await.unwrap()
}

/// A desk with a worker in mode all that holds payments of another amount and waits for no order, and orders `o1` to `o4`.
async fn holding(name: &str) -> (Desk, Worker, Callback) {
    let mut desk = Desk::start(name).await;
    desk.shop.place(&["o1", "o2", "o3", "o4"].map(str::to_owned)).await;
    desk.direct.worker = desk
        .direct
        .worker
        .clone()
        .env("ORDER_WORKER_INBOX_WAITFORORDER", "0s")
        .env("ORDER_WORKER_INBOX_AMOUNTMISMATCH", "hold");
    let (worker, callback) = desk.direct.worker().await;
    (desk, worker, callback)
}

/// A payment of one cent too little.
fn little(event_id: &str, payment_id: &str, order_id: &str) -> Event {
    let mut little = confirmed(payment_id, order_id, "10.10");
    little.amount = amount("10.09");
    Event::new(CONFIRMED, event_id, bytes(&little))
}

/// The row of the event that is in this state.
async fn row(desk: &Desk, event: &str, state: &str) -> String {
    let sql = "select i.id::text from order_worker.inbox i join order_worker.pending p on p.id = i.id where i.event_id = $1 and p.state = $2";
    let find = async || -> Option<String> {
        sqlx::query_scalar(sql).bind(event).bind(state).fetch_optional(&desk.shop.pool).await.unwrap()
    };
    wait::until(&format!("{event} to be {state}"), SOON, async || find().await.is_some()).await;
    find().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_registers_by_what_it_judges_and_the_last_started_stands() {
    let desk = Desk::start("word_terms").await;
    assert_eq!(registered(&desk).await, []);
    let spec = |mode: &str| WorkerSpec { name: mode.into(), mode: mode.into(), ..desk.direct.worker.replica() };
    let jobs = Worker::start(spec("cron").env("ORDER_BUSINESS_ORDER_AUTOCANCELMINUTES", 4320)).await;
    let [(kind, terms)] = registered(&desk).await.try_into().unwrap();
    assert_eq!((kind.as_str(), &terms["order_minutes"], &terms["cod_too"]), ("jobs", &json!(4320), &json!(false)));

    let events = Worker::start(spec("event").env("ORDER_WORKER_INBOX_AMOUNTMISMATCH", "hold")).await;
    let [(kind, terms), _] = registered(&desk).await.try_into().unwrap();
    assert_eq!((kind.as_str(), &terms["amount_mismatch"]), ("events", &json!("hold")));
    assert_eq!(terms["wait_for_order"], "1day");
    let drains =
        "select string_agg(distinct drains::text, ' ' order by drains::text) from order_worker.workers where $1 = ''";
    let both = async || desk.shop.text(drains, "").await == "{dapr,warehouse,cron} {inbox,dapr,warehouse}";
    wait::until("both to have said what they drain", SOON, both).await;

    // A rollout: what the new one says stands, and goes on standing when the old one ends after it.
    let _new = Worker::start(spec("all").env("ORDER_BUSINESS_ORDER_AUTOCANCELMINUTES", 60)).await;
    for old in [jobs, events] {
        old.terminate();
        old.wait_exit(SOON).await;
    }
    let [(_, events), (_, jobs)] = registered(&desk).await.try_into().unwrap();
    assert_eq!((&events["amount_mismatch"], &jobs["order_minutes"]), (&json!("apply"), &json!(60)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_asks_and_a_worker_performs_by_its_own_settings() {
    let mut desk = Desk::start("word_performs").await;
    desk.shop.place(&["o30", "o80"].map(str::to_owned)).await;
    desk.shop.execute("update orders set created_at = now() - (substr(id, 2) || ' hours')::interval").await;
    // The shop says 72 h; the shell of the commands has the default, 24 h.
    desk.direct.worker = desk.direct.worker.clone().env("ORDER_BUSINESS_ORDER_AUTOCANCELMINUTES", 4320);
    let spec = WorkerSpec { mode: "cron".into(), ..desk.direct.worker.clone() };
    let worker = Worker::start(crate::cron::only(spec, &["session_cleanup"], "0 0 1 1 *")).await;
    let (code, stdout, stderr) = desk.run(&["cron", "run", "order_cleanup", "--dry-run"]).await;
    assert_eq!((code, stdout.as_str()), (0, "would cancel order o80\norder_cleanup: 1 items, nothing was changed\n"));
    assert!(
        stderr.contains("unpaid orders are cancelled after 4320 min") && stderr.contains("has registered them at"),
        "{stderr}"
    );
    let run = desk.json(&["cron", "run", "order_cleanup"]).await;
    let name: String = desk.shop.text("select worker from order_worker.worker_terms where kind = $1", "jobs").await;
    assert_eq!((&run["outcome"], &run["items"]), (&json!("succeeded"), &json!(1)));
    let performed_by = run["worker"].as_str().unwrap();
    assert_eq!(performed_by.rsplit_once('/').unwrap().0, name.rsplit_once('/').unwrap().0, "the worker's process");
    assert_eq!((desk.shop.status("o30").await, desk.shop.status("o80").await), ("pending".into(), "cancelled".into()));

    // With nobody there it says so, asks for nothing, and performs here when it is told to: by the same settings.
    worker.terminate();
    worker.wait_exit(SOON).await;
    let runs = "select count(*) from order_worker.cron_runs where job = 'order_cleanup'";
    let before = desk.shop.count(runs).await;
    let (code, _, stderr) = desk.run(&["cron", "run", "order_cleanup"]).await;
    assert_eq!(code, 1);
    for words in ["no worker that performs it is alive", "--here", "after 4320 min", &name] {
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
    assert_eq!(desk.shop.count(runs).await, before);
    let run = desk.json(&["cron", "run", "order_cleanup", "--here"]).await;
    assert_eq!((&run["outcome"], &run["items"]), (&json!("succeeded"), &json!(0)));
    assert_eq!(desk.shop.status("o30").await, "pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_in_mode_cron_judges_as_the_workers_do_that_take_events_in() {
    let desk = Desk::start("word_judges").await;
    desk.shop.place_one("o1").await;
    desk.shop.execute("update orders set status = 'cancelled'").await;
    let spec = |mode: &str| WorkerSpec { name: mode.into(), mode: mode.into(), ..desk.direct.worker.replica() };
    let events = Worker::start(spec("event").env("ORDER_WORKER_INBOX_AMOUNTMISMATCH", "hold")).await;
    let callback = Callback::new(events.eventbus_port());
    callback.event(&little("e1", "p1", "o1")).await.unwrap();
    desk.shop.settled(SOON).await;
    desk.shop.execute("update orders set status = 'pending'").await;
    // Nothing was ever said to this one of held payments.
    let _jobs = Worker::start(spec("cron")).await;
    let run = desk.json(&["inbox", "replay", "--since", "1h", "--reason", "wrong code ran"]).await;
    assert_eq!((&run[0]["result"]["unchanged"], &run[0]["result"]["changed"]), (&json!(1), &json!(0)), "{run}");
    let would = desk.json(&["inbox", "replay", "--since", "1h", "--dry-run"]).await;
    assert_eq!(would["tally"]["changed"], 0);
    assert_eq!(desk.shop.status("o1").await, "pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_has_decided_is_left_alone_by_a_replay_unless_it_is_said_by_name() {
    let (desk, _worker, callback) = holding("word_decided").await;
    desk.shop.execute("update orders set status = 'cancelled' where id = 'o4'").await;
    callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    callback.event(&confirmation("e1", "p2", "o2")).await.unwrap();
    callback.event(&little("e3", "p3", "o3")).await.unwrap();
    callback.event(&confirmation("e4", "p4", "o4")).await.unwrap();
    callback.event(&confirmation("e-late", "p-late", "late")).await.unwrap();
    let (dropped, rejected, skipped) =
        (row(&desk, "e1", "quarantined").await, row(&desk, "e3", "held").await, row(&desk, "e-late", "dead").await);
    desk.says(&["quarantine", "resolve", &dropped, "--drop", "--reason", "a forgery"]).await;
    desk.says(&["inbox", "reject", &rejected, "--reason", "refunded"]).await;
    desk.says(&["dead", "skip", "--id", &skipped, "--reason", "a test of theirs"]).await;
    desk.shop.settled(SOON).await;
    let incident = desk.json(&["incident", "list", "--kind", "paid_cancelled"]).await[0]["id"].to_string();
    desk.says(&["incident", "resolve", &incident, "--reason", "refunded"]).await;
    let decided = "select string_agg(concat_ws(' ', actor, verb, reason), ', ' order by decided_at) from order_worker.decisions where $1 = ''";
    assert_eq!(desk.shop.text(decided, "").await, "ada drop a forgery, ada reject refunded, ada skip a test of theirs");

    // Judged alone, each of them would be paid now.
    desk.shop.execute("update orders set status = 'pending' where id = 'o4'").await;
    desk.shop.place_one("late").await;
    let would = desk.says(&["inbox", "replay", "--since", "1d", "--dry-run"]).await;
    for words in ["dropped", "rejected", "skipped", "incident paid_cancelled resolved"] {
        let line = format!("! a person has decided: {words}; left alone (--include-decided)");
        assert!(would.contains(&line), "{line}: {would}");
    }
    assert!(would.contains("1 unchanged, 4 left alone, as a person has decided,"), "{would}");
    let run = desk.json(&["inbox", "replay", "--since", "1d", "--reason", "wrong code ran"]).await;
    assert_eq!((&run[0]["result"]["decided"], &run[0]["result"]["changed"]), (&json!(4), &json!(0)), "{run}");
    desk.shop.settled(SOON).await;
    for order in ["o2", "o3", "o4", "late"] {
        assert_eq!(desk.shop.status(order).await, "pending", "{order}");
    }

    let all = ["inbox", "replay", "--since", "1d", "--include-decided"];
    let would = desk.says(&[&all[..], &["--dry-run"]].concat()).await;
    assert!(would.contains("! a person has decided: dropped; judged again all the same"), "{would}");
    assert!(would.contains("+ orders.status payment_confirmed"), "{would}");
    desk.says(&[&all[..], &["--reason", "they were wrong"]].concat()).await;
    desk.shop.settled(SOON).await;
    // The amount of o3 is another one still, and nobody has approved it.
    for (order, status) in
        [("o2", "payment_confirmed"), ("o3", "pending"), ("o4", "payment_confirmed"), ("late", "payment_confirmed")]
    {
        assert_eq!(desk.shop.status(order).await, status, "{order}");
    }
    assert_eq!(desk.run(&["audit"]).await.0, 0);
    let story = desk.says(&["order", "show", "o3"]).await;
    assert!(story.contains("reject e3") && story.contains("ada; refunded"), "{story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn accepting_a_body_approves_no_amount() {
    let (desk, _worker, callback) = holding("word_accept").await;
    callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    callback.event(&little("e1", "p2", "o2")).await.unwrap();
    let id = row(&desk, "e1", "quarantined").await;
    desk.says(&["quarantine", "resolve", &id, "--accept", "--reason", "an id used twice"]).await;
    assert_eq!(row(&desk, "e1", "held").await, id);
    assert_eq!(desk.shop.status("o2").await, "pending");
    assert_eq!(desk.shop.incidents("o2").await, ["amount_mismatch", "same_id_other_body"]);
    desk.says(&["inbox", "approve", &id, "--reason", "a discount"]).await;
    desk.shop.settled(SOON).await;
    assert_eq!(desk.shop.status("o2").await, "payment_confirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_waits_for_an_order_can_be_given_up() {
    let desk = Desk::start("word_waits").await;
    let (_worker, callback) = desk.direct.worker().await;
    callback.event(&confirmation("e1", "p1", "never")).await.unwrap();
    let id = row(&desk, "e1", "waiting").await;
    desk.says(&["inbox", "reject", &id, "--reason", "a test of theirs"]).await;
    desk.shop.settled(SOON).await;
    assert_eq!(desk.shop.outcomes("e1").await, [("rejected".to_owned(), Some("a test of theirs".to_owned()))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_has_the_name_of_a_person_and_beside_it_the_role_and_the_host() {
    let mut desk = Desk::start("word_name").await;
    let pause = ["queue", "pause", "dapr", "--reason", "a look"];
    desk.operator = String::new();
    let (code, _, stderr) = desk.run(&pause).await;
    assert!(code == 2 && stderr.contains("nothing says who you are"), "{stderr}");
    assert!(stderr.contains("--as NAME") && stderr.contains("ORDER_WORKER_OPERATOR"), "{stderr}");
    for account in ["root", "unknown", " "] {
        assert_eq!(desk.run(&[&pause[..], &["--as", account]].concat()).await.0, 2, "{account:?}");
    }
    assert_eq!(desk.audited().await, [""; 0]);
    assert!(desk.says(&[&pause[..], &["--dry-run"]].concat()).await.contains("would be paused"), "needs no name");
    assert_eq!(desk.run(&["queue", "pause", "dapr", "--as", "ada"]).await.0, 2, "without a reason");

    desk.operator = "somebody else".into();
    desk.says(&[&pause[..], &["--as", "ada"]].concat()).await;
    desk.says(&["queue", "resume", "dapr", "--reason", "seen"]).await;
    assert_eq!(desk.audited().await, ["ada queue pause dapr a look", "somebody else queue resume dapr seen"]);
    let record = &desk.json(&["audit", "log"]).await[0];
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!((&record["host"], &record["role"]), (&json!(host.trim()), &json!("postgres")));

    // The chain goes on over records that name no host.
    desk.shop.execute("select order_worker.record('old', 'queue pause', 'dapr', '{}', null)").await;
    desk.says(&pause).await;
    assert!(desk.says(&["audit", "log", "--verify"]).await.contains("the chain is whole"));
    desk.shop.execute("update order_worker.audit_log set host = 'elsewhere' where id = 1").await;
    assert_eq!(desk.run(&["audit", "log", "--verify"]).await.0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_checked_when_it_is_given_and_rehearsed_with_what_happened_since() {
    let (desk, worker, callback) = holding("word_edit").await;
    callback.event(&Event::new(CONFIRMED, "e-bad", b"{\"order_id\": \"o2\"}".to_vec())).await.unwrap();
    callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    let event = row(&desk, "e-bad", "dead").await;
    desk.shop.settled(SOON).await;
    worker.terminate();
    worker.wait_exit(SOON).await;
    desk.shop.execute("select order_worker.cancel_order('o1', 'changed my mind', 'c1')").await;
    desk.shop.execute("update order_worker.pending set state = 'dead' where queue <> 'inbox'").await;
    let of = async |queue: &str| -> String {
        let sql = "select id::text from order_worker.pending where queue = $1 and state = 'dead'";
        sqlx::query_scalar(sql).bind(queue).fetch_one(&desk.shop.pool).await.unwrap()
    };
    let (announcement, call) = (of("dapr").await, of("warehouse").await);
    let body = async |id: &str| -> Value {
        let sql = "select body from order_worker.outbox where id = $1::bigint";
        sqlx::query_scalar(sql).bind(id).fetch_one(&desk.shop.pool).await.unwrap()
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let edit = async |id: &str, body: &Value, more: &[&str]| {
        std::fs::write(file.path(), body.to_string()).unwrap();
        let args = ["dead", "edit", id, "--body", file.path().to_str().unwrap(), "--reason", "mended"];
        desk.run(&[&args[..], more].concat()).await
    };
    let good: Value = serde_json::from_slice(&bytes(&confirmed("p-bad", "o2", "10.10"))).unwrap();
    let (told, asked) = (body(&announcement).await, body(&call).await);
    let with = |body: &Value, field: &str, value: Value| {
        let mut body = body.clone();
        body[field] = value;
        body
    };
    for (id, wrong, says) in [
        (
            &event,
            with(&good, "order_id", json!([7])),
            "field `order_id` is an array, expected a text or a whole number",
        ),
        (&event, with(&good, "amount", json!("ten")), "field `amount` is a text that is no number, expected a number"),
        (&announcement, with(&told, "order_id", json!("o2")), "field `order_id`: `o1` is expected"),
        (&announcement, with(&told, "new_status", json!("shipped")), "field `new_status`: `cancelled` is expected"),
        (
            &announcement,
            with(&told, "timestamp", json!("now")),
            "field `timestamp`: a moment (2026-01-31T14:00:00Z) is expected",
        ),
        (
            &call,
            with(&asked, "order_item_id", json!("one")),
            "field `order_item_id`: an item of order o1 is expected, one, which is none,",
        ),
        (
            &call,
            with(&asked, "order_item_id", json!(999)),
            "field `order_item_id`: an item of order o1 is expected, 999",
        ),
        (&call, with(&asked, "reservation_id", json!("res-o2")), "field `reservation_id`: `res-o1` is expected"),
        (
            &call,
            json!({ "reservation_id": "res-o1" }),
            "field `order_item_id`: a whole number or text is expected; it is missing",
        ),
    ] {
        let (code, _, stderr) = edit(id, &wrong, &[]).await;
        assert!(code == 1 && stderr.contains(says), "{says}: {stderr}");
    }
    assert_eq!(desk.shop.count("select count(*) from order_worker.edits").await, 0);
    assert_eq!(desk.audited().await, [""; 0]);

    // What a person has to know before: the order was cancelled since.
    callback_of_later(&desk).await;
    let (code, stdout, stderr) = edit(&announcement, &with(&told, "reason", json!("mended")), &["--dry-run"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("would be tried again with the new body"), "{stdout}");
    assert!(stdout.contains("order o1 became cancelled (changed my mind)"), "{stdout}");
    let would = desk.says(&["dead", "redrive", "--id", &call, "--dry-run"]).await;
    assert!(would.contains(&format!("about row {call}:")) && would.contains("order o1 became shipped"), "{would}");
    let would = desk.json(&["dead", "skip", "--id", &call, "--reason", "x", "--dry-run"]).await;
    let since: Vec<_> = would[0]["since"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    assert!(since.iter().any(|line| line.starts_with("payment p1 of order o1 was told as confirmed")), "{since:?}");

    for (id, body) in [(&event, &good), (&announcement, &told), (&call, &asked)] {
        let (code, _, stderr) = edit(id, body, &[]).await;
        assert_eq!(code, 0, "{stderr}");
    }
    let edits = "select count(*) from order_worker.decisions where verb = 'edit' and actor = 'ada'";
    assert_eq!(desk.shop.count(edits).await, 3);
    let (_worker, _callback) = desk.direct.worker().await;
    desk.shop.settled(SOON).await;
    assert_eq!(desk.shop.status("o2").await, "payment_confirmed");
}

/// What is written by somebody else into the order's history, after its dead rows.
async fn callback_of_later(desk: &Desk) {
    let later = "insert into order_status_history (order_id, old_status, new_status, created_at)
                 values ('o1', 'cancelled', 'shipped', clock_timestamp())";
    desk.shop.execute(later).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_waits_and_is_not_dead_is_found_tried_again_and_given_up() {
    let (desk, _worker, _callback) = holding("word_stuck").await;
    let stuck = async |order: &str| {
        let announce = format!(
            "select order_worker.announce('nobody.reads', '{order}', '{{\"order_id\": \"{order}\"}}', 'stuck');
             update order_worker.pending set state = 'waiting', due = now() + interval '50 minutes', last_error = 'not allowed: nobody.reads'
             where id = (select id from order_worker.outbox where topic = 'nobody.reads' and subject = '{order}')"
        );
        desk.shop.execute(&announce).await;
        let later =
            format!("select order_worker.announce('later', '{order}', '{{\"order_id\": \"{order}\"}}', 'later')");
        desk.shop.execute(&later).await;
        let listed = async || desk.json(&["outbox", "list", "--order", order, "--state", "waiting"]).await;
        wait::until("the later one to be behind it", SOON, async || listed().await[0]["behind"] == 1).await;
        listed().await[0]["id"].to_string()
    };
    let (first, second) = (stuck("o1").await, stuck("o2").await);
    let listed = desk.says(&["outbox", "list", "--state", "waiting"]).await;
    assert!(listed.contains("not allowed: nobody.reads") && listed.lines().count() == 3, "{listed}");
    let blocked = desk.json(&["outbox", "list", "--state", "blocked"]).await;
    assert_eq!(blocked.as_array().unwrap().len(), 2);
    let behind = blocked[0]["id"].to_string();
    let would = ["outbox", "redrive", &first, &behind, "--reason", "x", "--dry-run"];
    assert_eq!(
        desk.json(&would).await.as_array().unwrap().len(),
        1,
        "one that is only behind another goes on by itself"
    );

    let (code, _, stderr) = desk.run(&["dead", "skip", "--id", &first, "--reason", "x"]).await;
    assert!(code == 1 && stderr.contains("outbox list --state waiting, then outbox skip or redrive"), "{stderr}");
    let would = desk.says(&["outbox", "skip", &first, "--reason", "nobody reads it", "--dry-run"]).await;
    assert!(would.contains("waiting") && would.contains("nobody.reads"), "{would}");
    assert_eq!(desk.says(&["outbox", "skip", &first, "--reason", "nobody reads it"]).await, "1 rows skipped\n");
    assert_eq!(desk.says(&["outbox", "redrive", &second, "--reason", "it is allowed now"]).await, "1 rows redriven\n");
    desk.shop.settled(SOON).await;
    let sent = |order: &str| -> Vec<String> {
        let of = |one: &rig::sidecar::Published| one.json()["order_id"] == order;
        desk.direct.sidecar.published().into_iter().filter(of).map(|one| one.topic).collect()
    };
    assert_eq!(
        (sent("o1"), sent("o2")),
        (vec!["later".to_owned()], vec!["nobody.reads".to_owned(), "later".to_owned()])
    );
    assert_eq!(desk.json(&["outbox", "show", &first]).await[0]["state"], "skipped");
    let (code, _, stderr) = desk.run(&["outbox", "skip", &first, "--reason", "again"]).await;
    assert!(code == 1 && stderr.contains("none of these messages is waiting or dead"), "{stderr}");
    assert!(desk.says(&["order", "show", "o1"]).await.contains("ada; nobody reads it"));
    let audited = desk.audited().await;
    assert_eq!(audited.len(), 2, "{audited:?}");
    assert!(audited[0].starts_with("ada outbox skip"), "{audited:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_do_nothing_is_refused_by_command_and_console_alike_and_leaves_no_record() {
    let site = with_users("word_nothing").await;
    let desk = &site.desk;
    site.callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    desk.shop.settled(SOON).await;
    site.callback.event(&confirmation("e2", "p2", "o1")).await.unwrap();
    desk.shop.settled(SOON).await;
    let incident = desk.json(&["incident", "list"]).await[0]["id"].to_string();
    desk.says(&["incident", "resolve", &incident, "--reason", "refunded"]).await;
    let call = desk.json(&["outbox", "list", "--channel", "warehouse"]).await[0]["id"].to_string();
    let before = desk.audited().await;

    let (_, ada) = site.login("ada", "ada-secret").await;
    let csrf = ada.csrf().await;
    for (path, form) in [
        ("/incidents/resolve", format!("id={incident}&reason=again")),
        ("/outbox/resend", format!("id={call}&reason=again")),
        ("/outbox/skip", format!("ids={call}&reason=again")),
        ("/dead/redrive", format!("ids={call}&reason=again")),
        ("/cron/resume", "job=order_cleanup&reason=again".to_owned()),
        ("/queues/resume", "queue=dapr&reason=again".to_owned()),
        ("/cron/cancel", "run=1&reason=again".to_owned()),
    ] {
        let answer = ada.post(path, &format!("{form}&csrf={csrf}")).await;
        assert_eq!(answer.status, 409, "{path}: {}", answer.body);
    }
    for args in [
        &["incident", "resolve", &incident, "--reason", "again"][..],
        &["outbox", "resend", "--since", "1h", "--order", "nobody", "--reason", "again"],
        &["outbox", "skip", &call, "--reason", "again"],
        &["dead", "redrive", "--all", "--reason", "again"],
        &["inbox", "approve", &call, "--reason", "again"],
        &["inbox", "replay", "--order", "nobody", "--reason", "again"],
        &["cron", "cancel", "1", "--reason", "again"],
    ] {
        let (code, _, stderr) = desk.run(args).await;
        assert!(code == 1 && stderr.contains("hint: "), "{args:?}: {stderr}");
    }
    assert_eq!(desk.audited().await, before);
}
