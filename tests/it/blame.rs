//! Blame needs a witness: who is held up by a row that cannot be done, whose attempts count, and how it comes to an end.

use rig::behaviour::{Behaviour, Gate};
use rig::sidecar::topic_forbidden;
use rig::wait;
use tonic::Code;

use crate::commands::Desk;
use crate::scene::{SOON, Scene, assert_not_held_up, confirmation, witness};

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

/// An order service whose own trigger refuses to change these orders.
const TRIGGER: &str = "create function refuse() returns trigger language plpgsql as $$ begin
        if new.id like 'bad%' then raise exception 'order % is on hold in the back office', new.id; end if; return new; end $$;
    create trigger refuse before update on orders for each row execute function refuse()";

#[tokio::test(flavor = "multi_thread")]
async fn one_event_that_cannot_be_applied_holds_up_no_other_under_a_steady_load() {
    let scene = Scene::start("steady_poison").await;
    let orders = names("o", 600);
    scene.shop.place(&orders).await;
    scene.shop.place(&["bad1".into()]).await;
    scene.shop.execute(TRIGGER).await;
    let without = scene.pay_until(&orders[..300], 300).await;
    scene.confirm("e-bad1", "p-bad1", "bad1").await;
    let with = scene.pay_until(&orders[300..], 600).await;
    assert_not_held_up(without, with);
    let innocent = "select count(*) from order_worker.pending where key <> 'bad1' and attempts > 0";
    assert_eq!(scene.shop.count(innocent).await, 0);
    let told = async || scene.outcome("e-bad1").await.1.contains("on hold in the back office");
    wait::until_or("the reason", SOON, || scene.worker.log_tail(), told).await;
    assert_eq!(scene.outcome("e-bad1").await.0, "pending");
    scene.shop.execute("drop trigger refuse on orders").await;
    scene.settled().await;
    assert_eq!(scene.shop.history("bad1").await, ["payment_confirmed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_fails_while_others_get_through_is_given_up_in_the_end() {
    let scene = Scene::start_with("given_up_event", |spec| spec.env("ORDER_WORKER_QUEUE_INBOX_MAXATTEMPTS", 2)).await;
    scene.shop.place(&names("bad", 2)).await;
    scene.shop.execute(TRIGGER).await;
    scene.confirm("e-bad0", "p-bad0", "bad0").await;
    // Alone it is not to blame, however often it fails.
    let failed = async || scene.worker.logs().matches("Event failed: ").count() >= 4;
    wait::until_or("four failures", SOON, || scene.worker.log_tail(), failed).await;
    assert_eq!(scene.shop.count("select max(attempts)::bigint from order_worker.pending").await, 0);
    let dead = async || {
        scene.witness().await;
        scene.outcome("e-bad0").await.0 == "dead"
    };
    wait::until_or("the event to be given up", SOON, || scene.worker.log_tail(), dead).await;
    assert_eq!(scene.shop.count("select count(*) from order_worker.inbox_status where outcome = 'dead'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_somebody_has_locked_delays_only_its_own_order() {
    let scene = Scene::start("locked_item").await;
    let orders = names("o", 200);
    scene.shop.place(&orders).await;
    let without = scene.pay_until(&orders[..100], 100).await;
    let mut holder = scene.shop.pool.begin().await.unwrap();
    sqlx::query("select from order_items where order_id = 'o107' for update").execute(&mut *holder).await.unwrap();
    let with = scene.pay_until(&orders[100..], 199).await;
    assert_not_held_up(without, with);
    let locked = ("pending".to_owned(), "the order is locked by another writer".to_owned());
    wait::until("the reason", SOON, async || scene.outcome("e-o107").await == locked).await;
    holder.rollback().await.unwrap();
    scene.settled().await;
    assert_eq!(scene.shop.history("o107").await, ["payment_confirmed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_written_is_nobody_elses_trouble() {
    let scene = Scene::start("unsettled_neighbour").await;
    let orders = names("o", 20);
    scene.shop.place(&orders).await;
    scene
        .shop
        .execute(
            "create function refuse() returns trigger language plpgsql as $$ begin
                if new.reservation_status = 'confirmed' and new.order_id = 'o3' then raise exception 'stocktaking'; end if; return new; end $$;
             create trigger refuse before update on order_items for each row execute function refuse()",
        )
        .await;
    for order in &orders {
        scene.confirm(&format!("e-{order}"), &format!("p-{order}"), order).await;
    }
    scene.settled().await;
    let confirmed = scene.direct.warehouse.confirmed();
    assert!(confirmed.values().all(|effect| effect.times == 1), "nobody is called again: {confirmed:?}");
    assert_eq!(confirmed.len(), 20);
    let dead = "select last_error from order_worker.pending where state = 'dead' and key = $1";
    let reason = scene.shop.text(dead, "res-o3").await;
    assert!(reason.contains("the answer cannot be written") && reason.contains("stocktaking"), "{reason}");
    let answered = "select count(*) from order_items where reservation_status = 'confirmed'";
    assert_eq!(scene.shop.count(answered).await, 19);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_that_the_component_refuses_for_ever_comes_to_an_end() {
    let mut desk = Desk::start("refused_topic").await;
    desk.direct.worker = desk.direct.worker.clone().env("ORDER_WORKER_QUEUE_DAPR_MAXATTEMPTS", 2);
    desk.shop.place_one("o0").await;
    let (worker, callback) = desk.direct.worker().await;
    desk.direct.sidecar.behaviours().set_for("forbidden", topic_forbidden());
    desk.shop.execute("select order_worker.announce('any.topic', 'o0', '{\"order_id\": \"forbidden\"}', 'c1')").await;
    desk.shop.execute("select order_worker.order_created('o0', 'checkout-0')").await;
    let dead = "select count(*) from order_worker.outbox_status where state = 'dead'";
    let given_up = async || {
        witness(&desk.shop, &callback).await;
        desk.shop.count(dead).await == 1
    };
    wait::until_or("the announcement to be given up", SOON, || worker.log_tail(), given_up).await;
    desk.says(&["dead", "skip", "--queue", "dapr", "--reason", "nobody reads that topic"]).await;
    desk.shop.settled(SOON).await;
    let published = desk.direct.sidecar.published();
    assert!(published.iter().any(|one| one.json()["order_id"] == "o0"), "the later one of the order goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_announcements_that_are_refused_do_not_hide_one_that_is_not() {
    let scene = Scene::start("refused_crowd").await;
    scene.shop.place(&names("o", 300)).await;
    for order in names("o", 290) {
        scene.direct.sidecar.behaviours().set_for(order, topic_forbidden());
    }
    scene
        .shop
        .execute("select order_worker.order_created('o' || n, 'checkout-' || n) from generate_series(0, 299) n")
        .await;
    let through = async || scene.direct.sidecar.count() == 10;
    wait::until_or("those that are allowed", SOON, || scene.worker.log_tail(), through).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_the_warehouse_does_not_implement_for_one_is_given_up_while_others_get_through() {
    let scene =
        Scene::start_with("unimplemented", |spec| spec.env("ORDER_WORKER_QUEUE_WAREHOUSE_MAXATTEMPTS", 2)).await;
    scene.shop.place_one("o0").await;
    scene.direct.warehouse.behaviours().set_for("res-o0", Behaviour::Refuse(Code::Unimplemented));
    scene.confirm("e-o0", "p-o0", "o0").await;
    let dead = "select count(*) from order_worker.pending where state = 'dead' and key = 'res-o0'";
    let given_up = async || {
        scene.witness().await;
        scene.shop.count(dead).await == 1
    };
    wait::until_or("the call to be given up", SOON, || scene.worker.log_tail(), given_up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_behind_a_row_that_cannot_be_done_and_says_so() {
    let desk = Desk::start("foreign_key").await;
    desk.shop
        .execute(
            "insert into carts select 'c' || n, null, false, now() - interval '30 days' from generate_series(1, 1200) n;
             create table loyalty (cart_id text references carts);
             insert into loyalty values ('c7'), ('c900')",
        )
        .await;
    let _worker = desk.direct.worker().await;
    let (code, stdout, stderr) = desk.run(&["cron", "run", "cart_cleanup", "-o", "json"]).await;
    assert!(code == 0 && stderr.contains("loyalty"), "said while it goes on: {code} {stderr}");
    let run: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&run["outcome"], &run["items"], &run["passed_over"]),
        (&"succeeded".into(), &1198.into(), &2.into()),
        "{run}"
    );
    let error = run["error"].as_str().unwrap();
    assert!(error.contains(" passed over: ") && error.contains("loyalty"), "{error}");
    assert_eq!(desk.shop.count("select count(*) from carts").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_none_of_whose_rows_can_be_done_has_failed_and_says_why() {
    let desk = Desk::start("publication").await;
    desk.shop
        .execute(
            "create publication everything for all tables;
             insert into carts select 'c' || n, null, false, now() - interval '30 days' from generate_series(1, 100) n;
             insert into cart_items select id, 'SKU-1', 1 from carts",
        )
        .await;
    let (worker, _) = desk.direct.worker().await;
    let (code, _, stderr) = desk.run(&["cron", "run", "cart_cleanup"]).await;
    assert!(code == 1 && stderr.contains("replica identity"), "{code} {stderr}\n{}", worker.log_tail());
    let history = desk.json(&["cron", "history", "cart_cleanup"]).await;
    assert_eq!(history[0]["outcome"], "failed");
    assert!(history[0]["error"].as_str().unwrap().contains("none of 20 rows could be done"), "{history}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_time_is_missing_is_left_alone_and_can_be_paid() {
    let desk = Desk::start("no_time").await;
    desk.shop.place(&["minus".into(), "plus".into(), "early".into(), "old".into()]).await;
    desk.shop
        .execute(
            "update orders set created_at = case id when 'minus' then '-infinity' when 'plus' then 'infinity'
                                                    when 'early' then '4000-01-01 BC' else now() - interval '3 days' end;
             update order_items set reserved_at = '-infinity'",
        )
        .await;
    let (worker, callback) = desk.direct.worker().await;
    desk.says(&["cron", "run", "order_cleanup"]).await;
    desk.says(&["cron", "run", "reservation_cleanup"]).await;
    for (order, status) in [("minus", "pending"), ("plus", "pending"), ("early", "pending"), ("old", "cancelled")] {
        assert_eq!(desk.shop.status(order).await, status, "{order}");
    }
    for order in ["minus", "plus", "early"] {
        callback.event(&confirmation(&format!("e-{order}"), &format!("p-{order}"), order)).await.unwrap();
    }
    desk.shop.settled(SOON).await;
    for order in ["minus", "plus", "early"] {
        assert_eq!(desk.shop.status(order).await, "payment_confirmed", "{order}");
        desk.says(&["order", "show", order]).await;
    }
    assert!(!worker.logs().contains("panicked"), "{}", worker.log_tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_trigger_speaks_of_a_lost_connection_holds_up_no_other() {
    for (name, raises) in [
        ("raises_08", "raise exception 'dblink: no route' using errcode = '08001'"),
        ("raises_53", "raise exception 'tablespace full' using errcode = '53100'"),
        ("ends_session", "perform pg_terminate_backend(pg_backend_pid())"),
    ] {
        let scene = Scene::start(name).await;
        let orders = names("o", 60);
        scene.shop.place(&orders).await;
        scene.shop.place(&["bad0".into()]).await;
        let body = format!("begin if new.id = 'bad0' then {raises}; end if; return new; end");
        scene
            .shop
            .execute(&format!(
                "create function refuse() returns trigger language plpgsql as $$ {body} $$;
                 create trigger refuse before update on orders for each row execute function refuse()"
            ))
            .await;
        let bad = ["bad0".to_owned()];
        let events = orders[..30].iter().chain(&bad).chain(&orders[30..]);
        futures::future::join_all(events.map(|order| {
            let (event, payment) = (format!("e-{order}"), format!("p-{order}"));
            let scene = &scene;
            async move { scene.confirm(&event, &payment, order).await }
        }))
        .await;
        let all = async || scene.direct.sidecar.count() == 60;
        wait::until_or("all others to be announced", SOON, || scene.worker.log_tail(), all).await;
        assert_eq!(scene.shop.count("select coalesce(max(attempts), 0)::bigint from order_worker.pending").await, 0);
        scene.shop.execute("drop trigger refuse on orders").await;
        scene.settled().await;
        assert_eq!(scene.shop.history("bad0").await, ["payment_confirmed"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_names_its_table_without_a_schema_works_as_by_hand() {
    let scene = Scene::start("own_trigger").await;
    scene.shop.place_one("o1").await;
    scene
        .shop
        .execute(
            "create table orders_audit (id text, status text);
             create function audit() returns trigger language plpgsql as $$ begin
                 insert into orders_audit values (new.id, new.status); return new; end $$;
             create trigger audit after update on orders for each row execute function audit()",
        )
        .await;
    scene.confirm("e1", "p1", "o1").await;
    scene.settled().await;
    assert_eq!(scene.shop.text("select status from orders_audit where id = $1", "o1").await, "payment_confirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_a_trigger_undoes_is_no_change() {
    let scene = Scene::start("undone").await;
    scene.shop.place_one("o1").await;
    scene
        .shop
        .execute(
            "create function undo() returns trigger language plpgsql as $$ begin new.status := old.status; return new; end $$;
             create trigger undo before update on orders for each row execute function undo()",
        )
        .await;
    scene.confirm("e1", "p1", "o1").await;
    let told = async || scene.outcome("e1").await.1.contains("undoes the change");
    wait::until_or("the reason", SOON, || scene.worker.log_tail(), told).await;
    assert_eq!(scene.direct.sidecar.count(), 0, "nothing is announced that did not happen");
    scene.shop.execute("drop trigger undo on orders").await;
    scene.settled().await;
    assert_eq!(scene.shop.status("o1").await, "payment_confirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_meets_a_lock_waits_and_is_not_given_up() {
    let scene = Scene::start("locked_answer").await;
    scene.shop.place(&names("o", 5)).await;
    let gate = Gate::new();
    scene.direct.warehouse.set(Behaviour::Held(gate.clone()));
    for order in names("o", 5) {
        scene.confirm(&format!("e-{order}"), &format!("p-{order}"), &order).await;
    }
    wait::until("the calls", SOON, async || scene.direct.warehouse.calls().len() >= 5).await;
    let mut holder = scene.shop.pool.begin().await.unwrap();
    sqlx::query("select from order_items where order_id = 'o2' for update").execute(&mut *holder).await.unwrap();
    gate.open();
    let waits =
        "select count(*) from order_worker.pending where key = 'res-o2' and last_error like '%cannot be written%'";
    wait::until_or("the answer to wait", SOON, || scene.worker.log_tail(), async || scene.shop.count(waits).await == 1)
        .await;
    assert_eq!(
        scene.shop.count("select count(*) from order_worker.pending where attempts > 0 or state = 'dead'").await,
        0
    );
    holder.rollback().await.unwrap();
    scene.settled().await;
    let status = "select reservation_status from order_items where order_id = $1";
    assert_eq!(scene.shop.text(status, "o2").await, "confirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_paid_is_not_given_up_whatever_its_status_says() {
    let desk = Desk::start("stale_row").await;
    desk.shop.place(&["o1".into(), "o2".into()]).await;
    let (_worker, callback) = desk.direct.worker().await;
    callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    desk.shop.settled(SOON).await;
    // As a mapper does that saves the whole of a stale row.
    desk.shop.execute("update orders set status = 'pending', created_at = now() - interval '3 days'").await;
    desk.says(&["cron", "run", "order_cleanup"]).await;
    assert_eq!((desk.shop.status("o1").await, desk.shop.status("o2").await), ("pending".into(), "cancelled".into()));
}
