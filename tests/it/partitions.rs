//! The end of old days: what is finished goes, what is not stays until it is.

use rig::behaviour::Behaviour;
use rig::callback::Event;
use rig::payment::{CONFIRMED, amount, confirmed, json};
use rig::wait;
use tonic::Code;

use crate::scene::{SOON, Scene, confirmation};

/// Makes everything that happened so far happen `days` days ago, in partitions of that day.
async fn age(scene: &Scene, days: u32) {
    let mut sql = String::new();
    for journal in ["inbox", "inbox_outcomes", "outbox", "outbox_outcomes"] {
        sql += &format!(
            "do $$ begin execute format('create table order_worker.{journal}_%s partition of order_worker.{journal}
                 for values from (%L) to (%L)', to_char(order_worker.today() - {days}, 'YYYYMMDD'),
                 order_worker.today() - {days}, order_worker.today() - {days} + 1); end $$;
             update order_worker.{journal} set day = day - {days};"
        );
    }
    for table in ["inbox_keys", "outbox_keys", "pending"] {
        sql += &format!("update order_worker.{table} set day = day - {days};");
    }
    scene.shop.execute(&sql).await;
}

/// Dropped partitions, by the days that the bodies are kept.
async fn drop_older_than(scene: &Scene, days: i32) -> Vec<String> {
    sqlx::query_scalar("select order_worker.drop_expired_partitions(make_interval(days => $1))")
        .bind(days)
        .fetch_all(&scene.shop.pool)
        .await
        .unwrap()
}

async fn forget(scene: &Scene, days: i32) -> i64 {
    sqlx::query_scalar("select order_worker.forget_keys(make_interval(days => $1), 1000)")
        .bind(days)
        .fetch_one(&scene.shop.pool)
        .await
        .unwrap()
}

/// The event ids that the inbox has a body of.
async fn kept(scene: &Scene) -> Vec<String> {
    sqlx::query_scalar("select distinct event_id from order_worker.inbox order by 1")
        .fetch_all(&scene.shop.pool)
        .await
        .unwrap()
}

/// A payment whose amount is not the order's: held by the setting of the scene.
fn mismatched(event_id: &str, order_id: &str) -> Event {
    let mut payment = confirmed(event_id, order_id, "10.10");
    payment.amount = amount("99.99");
    Event::new(CONFIRMED, event_id, json(&payment))
}

/// A scene 60 days after these events: `applied`, `announced-late` (applied, and its announcement fails), `waits` (no such
/// order; returned), `dead`, `held`, and `twice` with another body (quarantined).
async fn sixty_days_later(name: &str) -> (Scene, Event) {
    let hold = |spec: rig::worker::WorkerSpec| {
        // The worker's own maintenance finds nothing to do: the test says when.
        let spec = spec.env("ORDER_WORKER_INBOX_KEEPBODIES", "3650d").env("ORDER_WORKER_INBOX_KEEPKEYS", "3650d");
        spec.env("ORDER_WORKER_INBOX_AMOUNTMISMATCH", "hold").env("ORDER_WORKER_INBOX_WAITFORORDER", "30d")
    };
    let scene = Scene::start_with(name, hold).await;
    scene.shop.place(&["o1", "o2", "o3", "o4"].map(str::to_owned)).await;
    scene.direct.sidecar.behaviours().set_for("o2", Behaviour::Refuse(Code::Unavailable));
    scene.confirm("applied", "p1", "o1").await;
    scene.confirm("announced-late", "p2", "o2").await;
    let waits = confirmation("waits", "p9", "o9");
    scene.deliver(&waits).await;
    scene.deliver(&Event::new(CONFIRMED, "dead", b"nonsense".to_vec())).await;
    scene.deliver(&mismatched("held", "o3")).await;
    scene.confirm("twice", "p4", "o4").await;
    scene.deliver(&mismatched("twice", "o4")).await;
    let settled = "select count(*) from order_worker.inbox_outcomes";
    let sent = "select count(*) from order_worker.outbox_outcomes";
    let stand = "select count(*) from order_worker.pending where state in ('waiting', 'held', 'dead', 'quarantined')";
    wait::until_or(
        "everything to stand",
        SOON,
        || scene.worker.log_tail(),
        async || {
            scene.shop.count(settled).await == 3
                && scene.shop.count(sent).await == 5
                && scene.shop.count(stand).await == 5
        },
    )
    .await;
    // Nobody may have rows in hand while their days are changed.
    scene.worker.terminate();
    scene.worker.wait_exit(SOON).await;
    scene.shop.execute("update order_worker.pending set state = 'waiting', due = now() where state = 'ready'").await;
    age(&scene, 60).await;
    (scene, waits)
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_unfinished_rows_outlive_their_day_and_finished_ones_go_with_it() {
    let (scene, _) = sixty_days_later("bodies").await;
    assert!(drop_older_than(&scene, 90).await.is_empty());
    assert_eq!(drop_older_than(&scene, 30).await.len(), 4);
    assert_eq!(kept(&scene).await, ["dead", "held", "twice", "waits"]);
    assert_eq!(scene.outcome("twice").await.0, "quarantined", "the applied one is gone");
    let bodies = "select count(*) from order_worker.outbox";
    assert_eq!(scene.shop.count(bodies).await, 1, "the announcement that was not made");
    assert!(drop_older_than(&scene, 30).await.is_empty(), "there is nothing left to drop");
    let env = [("DATABASE_URL", scene.direct.worker.database_url.as_str())];
    let audit = rig::worker::run(crate::main_path::WORKER, &["audit"], &env).await;
    let said = String::from_utf8_lossy(&audit.stdout);
    assert!(audit.status.success(), "what is kept says nothing of the others of its day: {said}");

    // What was kept is done at last: the order appears, the announcement passes.
    scene.shop.place_one("o9").await;
    scene.direct.sidecar.behaviours().clear();
    scene.worker.restart().await;
    scene.settled().await;
    assert_eq!(scene.shop.history("o9").await, ["payment_confirmed"]);
    let announced = scene.direct.sidecar.published();
    assert!(announced.iter().any(|one| one.json()["order_id"] == "o2"));
    drop_older_than(&scene, 30).await;
    assert_eq!(kept(&scene).await, ["dead", "held", "twice"], "finished, it is kept no longer");
    assert_eq!(
        scene.shop.count("select count(*) from order_worker.inbox_outcomes where day < order_worker.today()").await,
        0
    );
    assert_eq!(scene.shop.count("select count(*) from order_worker.outbox where day < order_worker.today()").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_unfinished_rows_are_never_forgotten() {
    let (scene, waits) = sixty_days_later("keys").await;
    assert_eq!(forget(&scene, 90).await, 0);
    // Of seven inbox keys three are of finished events, of six outbox keys five: the larger number is told.
    assert_eq!(forget(&scene, 30).await, 5);
    assert_eq!(forget(&scene, 30).await, 0);
    assert_eq!(scene.shop.count("select count(*) from order_worker.inbox_keys").await, 4);
    assert_eq!(scene.shop.count("select count(*) from order_worker.outbox_keys").await, 1);

    scene.worker.restart().await;
    scene.shop.place_one("o9").await;
    for event in [waits, confirmation("applied", "p1", "o1")] {
        scene.deliver(&event).await;
    }
    wait::until("the event that waited", SOON, async || scene.outcome("waits").await.0 == "applied").await;
    assert_eq!(scene.shop.history("o9").await, ["payment_confirmed"], "the copy is a duplicate");
    let again = async || scene.shop.outcomes("applied").await.iter().any(|(outcome, _)| outcome == "superseded");
    wait::until("the forgotten event to be judged again", SOON, again).await;
    assert_eq!(scene.shop.history("o1").await, ["payment_confirmed"], "its payment is known");
}
