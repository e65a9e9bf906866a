//! The event server as a sidecar meets it: tokens, bulk calls, subscriptions, bounds, and a database that is away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rig::callback::{Answer, Callback, Event, PUBSUB};
use rig::payment::{CONFIRMED, FAILED, confirmed, failed, json};
use rig::postgres::Postgres;
use rig::publisher::Message;
use rig::stack::{Direct, Stack};
use rig::wait;
use rig::worker::{Worker, WorkerSpec, migrate};
use tokio::net::TcpStream;
use tonic::Code;

use crate::main_path::WORKER;
use crate::scene::{SOON, Scene, confirmation};
use crate::shop::Shop;

const DEAD_LETTER: &str = "order-worker.dead-letter";

fn with_token(spec: WorkerSpec) -> WorkerSpec {
    spec.env("APP_API_TOKEN", "s3cret")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_the_token_is_refused_and_nothing_is_stored() {
    let scene = Scene::start_with("token", with_token).await;
    scene.shop.place_one("o1").await;
    let event = confirmation("e1", "p1", "o1");
    let bare = &scene.callback;
    for callback in [bare.clone(), bare.clone().with_token("s3cre"), bare.clone().with_token("s3cret2")] {
        let refused = callback.event(&event).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert!(refused.message().contains("APP_API_TOKEN"), "{refused:?}");
        let events = std::slice::from_ref(&event);
        assert_eq!(callback.bulk(CONFIRMED, events).await.unwrap_err().code(), Code::Unauthenticated);
        assert_eq!(callback.bulk_alpha(CONFIRMED, events).await.unwrap_err().code(), Code::Unauthenticated);
    }
    assert_eq!(scene.shop.count("select count(*) from order_worker.inbox_keys").await, 0);
    bare.subscriptions().await.unwrap();
    wait::until("the health check to pass without a token", SOON, async || bare.health().await.is_ok()).await;

    assert_eq!(bare.clone().with_token("s3cret").event(&event).await.unwrap(), Answer::Success);
    scene.settled().await;
    assert_eq!(scene.shop.history("o1").await, ["payment_confirmed"]);
    assert!(!scene.worker.logs().contains("s3cret"), "{}", scene.worker.log_tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_sidecar_and_the_worker_show_each_other_their_tokens() {
    let tokens = [("APP_API_TOKEN", "for-the-app"), ("DAPR_API_TOKEN", "for-the-sidecar")];
    let tokens_of_both = tokens.map(|(name, token)| (name.to_owned(), token.to_owned()));
    let stack = Stack::start_with("tokens", WORKER, |daprd| daprd.env.extend(tokens_of_both.clone())).await;
    let shop = Shop::open(&stack.worker.database_url).await;
    shop.place_one("o1").await;
    let worker =
        Worker::start(tokens.iter().fold(stack.worker.clone(), |spec, (name, token)| spec.env(name, token))).await;
    let message = Message::new(CONFIRMED, "e1", json(&confirmed("p1", "o1", "10.10")));
    stack.publisher.publish(&message).await.unwrap();
    wait::until_or("the announcement", SOON, || worker.log_tail(), async || stack.subscriber.count() == 1).await;
    let stranger = Callback::new(worker.eventbus_port()).event(&confirmation("e2", "p2", "o1")).await;
    assert_eq!(stranger.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_of_a_bulk_call_is_answered_in_both_generations() {
    let scene = Scene::start("bulk").await;
    let orders: Vec<String> = (0..40).map(|n| format!("o{n}")).collect();
    scene.shop.place(&orders).await;
    let mut entries: Vec<Event> = orders.iter().map(|order| confirmation(order, order, order)).collect();
    for (n, body) in [&b"nonsense"[..], b"", b"{}"].into_iter().enumerate() {
        entries.insert(10 * n, Event::new(CONFIRMED, &format!("odd-{n}"), body.to_vec()));
    }
    let answered = vec![Some(Answer::Success); entries.len()];
    assert_eq!(scene.callback.bulk(CONFIRMED, &entries).await.unwrap(), answered);
    assert_eq!(scene.callback.bulk_alpha(CONFIRMED, &entries).await.unwrap(), answered);
    let failure = Event::new(FAILED, "f1", json(&failed("p-f", "o0", "10.10", "card declined")));
    assert_eq!(scene.callback.bulk_alpha(FAILED, &[failure]).await.unwrap(), [Some(Answer::Success)]);
    assert_eq!(scene.callback.bulk(CONFIRMED, &[]).await.unwrap(), []);
    scene.settled().await;
    for order in &orders {
        assert_eq!(scene.shop.history(order).await, ["payment_confirmed"]);
    }
    assert_eq!(scene.outcome("odd-1").await.0, "dead");
    assert_eq!(scene.shop.count("select sum(duplicates)::bigint from order_worker.inbox_status").await, 43);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_payment_topics_and_the_dead_letter_topic_are_subscribed() {
    let scene = Scene::start("subscriptions").await;
    let subscribed: Vec<_> = scene
        .callback
        .subscriptions()
        .await
        .unwrap()
        .into_iter()
        .map(|s| {
            let raw = s.metadata.get("rawPayload").cloned().unwrap_or_default();
            (s.pubsub_name, s.topic, s.routes.unwrap_or_default().default, s.dead_letter_topic, raw)
        })
        .collect();
    let own = |topic: &str, dead_letter: &str, raw: &str| {
        (PUBSUB.to_owned(), topic.to_owned(), format!("/{topic}"), dead_letter.to_owned(), raw.to_owned())
    };
    assert_eq!(
        subscribed,
        [own(CONFIRMED, DEAD_LETTER, "true"), own(FAILED, DEAD_LETTER, "true"), own(DEAD_LETTER, "", "true")]
    );
}

const SUBSCRIBE: &str = r#"[{"pubsubname":"pubsub-redis","topic":"payment.confirmed","route":"/payment.confirmed"},{"pubsubname":"pubsub-redis","topic":"payment.failed","route":"/payment.failed"}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_shown_by_http_and_mode_cron_has_none_and_no_event_port() {
    for (mode, shown, listens) in [("all", SUBSCRIBE, true), ("event", SUBSCRIBE, true), ("cron", "[]", false)] {
        let of_mode = |spec| WorkerSpec { mode: mode.into(), ..spec };
        let scene = Scene::start_with(&format!("subscribe_{mode}"), of_mode).await;
        assert_eq!(scene.worker.get("/dapr/subscribe").await.unwrap(), (200, shown.to_owned()), "{mode}");
        let port = TcpStream::connect(("127.0.0.1", scene.worker.eventbus_port())).await;
        assert_eq!(port.is_ok(), listens, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_above_the_limit_is_refused_with_the_limit_and_nothing_is_stored() {
    let small = |spec: WorkerSpec| spec.env("ORDER_WORKER_EVENTBUS_MAXMESSAGEBYTES", 65_536);
    let scene = Scene::start_with("too_large", small).await;
    let event = Event::new(CONFIRMED, "e1", vec![b'x'; 70_000]);
    let refused = scene.callback.event(&event).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    let why = "bytes, more than worker.eventbus.max_message_bytes (65536)";
    assert!(refused.message().contains(why) && scene.worker.logs().contains(why), "{refused:?}");
    assert_eq!(scene.shop.count("select count(*) from order_worker.inbox_keys").await, 0);
    let fits = Event::new(CONFIRMED, "e2", vec![b'x'; 60_000]);
    assert_eq!(scene.callback.event(&fits).await.unwrap(), Answer::Success);
}

/// Calls wait, as long as the transaction lives: no event can be stored.
async fn accept_blocked(scene: &Scene) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut blocking = scene.shop.pool.begin().await.unwrap();
    sqlx::query("lock table order_worker.inbox_keys").execute(&mut *blocking).await.unwrap();
    blocking
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_at_most_so_many_calls_under_way_and_others_are_not_held_up() {
    let two = |spec: WorkerSpec| {
        spec.env("ORDER_WORKER_EVENTBUS_MAXSTREAMS", 2)
            .env("ORDER_WORKER_EVENTBUS_ACCEPTTIMEOUT", "25s")
            .env("ORDER_WORKER_DATABASE_LOCKTIMEOUT", "25s")
    };
    let scene = Scene::start_with("streams", two).await;
    wait::until("the health check", SOON, async || scene.callback.health().await.is_ok()).await;
    let blocking = accept_blocked(&scene).await;
    let calls: Vec<_> = (0..5)
        .map(|n| {
            let (callback, order) = (scene.callback.clone(), format!("o{n}"));
            tokio::spawn(async move { callback.event(&confirmation(&order, &order, &order)).await })
        })
        .collect();
    let waiting = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'";
    wait::until("the calls to wait for the table", SOON, async || scene.shop.count(waiting).await > 0).await;
    let other = Callback::new(scene.worker.eventbus_port());
    other.health().await.unwrap();
    // The calls of the other tasks may be about to come.
    let full = async || tokio::time::timeout(Duration::from_millis(500), scene.callback.health()).await.is_err();
    wait::until("a third call to wait behind two", Duration::from_secs(10), full).await;
    blocking.rollback().await.unwrap();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), Answer::Success);
    }
    scene.callback.health().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_stored_in_time_is_answered_unavailable() {
    let soon = |spec: WorkerSpec| {
        spec.env("ORDER_WORKER_EVENTBUS_ACCEPTTIMEOUT", "3s").env("ORDER_WORKER_DATABASE_LOCKTIMEOUT", "25s")
    };
    let scene = Scene::start_with("accept_timeout", soon).await;
    scene.shop.place_one("o1").await;
    let blocking = accept_blocked(&scene).await;
    let event = confirmation("e1", "p1", "o1");
    // Those that come while the first ones are being tried wait no longer than these.
    let calls = (0..8).map(async |n: u64| {
        tokio::time::sleep(Duration::from_millis(300 * n)).await;
        let began = Instant::now();
        let refused = scene.callback.event(&event).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        began.elapsed()
    });
    for waited in futures::future::join_all(calls).await {
        assert!(waited < Duration::from_millis(7_500), "{waited:?}");
    }
    blocking.rollback().await.unwrap();
    scene.deliver(&event).await;
    scene.settled().await;
    assert_eq!(scene.shop.history("o1").await, ["payment_confirmed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_away_dapr_is_told_so_and_what_was_answered_success_is_never_lost() {
    let (postgres, mut direct) = (Postgres::start().await, Direct::start("away", WORKER).await);
    let url = postgres.database("away").await;
    migrate(WORKER, &url).await;
    direct.worker.database_url = url.clone();
    // The pool would wait for much longer.
    direct.worker = direct.worker.env("ORDER_WORKER_EVENTBUS_ACCEPTTIMEOUT", "500ms");
    let shop = Shop::open(&url).await;
    let orders: Vec<String> = (0..2000).map(|n| format!("o{n}")).collect();
    shop.place(&orders).await;
    let (worker, callback) = direct.worker().await;
    wait::until("the app health check to pass", SOON, async || callback.health().await.is_ok()).await;
    let over = AtomicBool::new(false);
    let outage = async {
        wait::until("some to be stored", SOON, async || shop.count(STORED).await > 5).await;
        postgres.stop().await;
        wait::until("the app health check to fail", SOON, async || callback.health().await.is_err()).await;
        let refused = callback.health().await.unwrap_err();
        assert!(refused.code() == Code::Unavailable && refused.message().starts_with("database: "), "{refused:?}");
        assert_eq!(worker.get("/healthz").await.unwrap().0, 200, "a restart would mend nothing");
        let began = Instant::now();
        let refused = callback.event(&confirmation("meanwhile", "p", "o0")).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());

        postgres.start_again().await;
        wait::until("the app health check to pass", SOON, async || callback.health().await.is_ok()).await;
        over.store(true, Ordering::Relaxed);
    };
    let ((delivered, refused), ()) = tokio::join!(deliver_until(&over, &callback, &orders), outage);
    assert!(refused > 0, "no event was refused meanwhile");
    shop.settled(SOON).await;
    for order in &orders[..delivered] {
        assert_eq!(shop.history(order).await, ["payment_confirmed"]);
    }
    assert_eq!(shop.count(STORED).await, i64::try_from(delivered).unwrap());
    assert!(!worker.logs().contains("postgres://"), "{}", worker.log_tail());
}

const STORED: &str = "select count(*) from order_worker.inbox_keys";

/// Delivers one payment after the other until it is over, each until it is answered SUCCESS and never again; how many those were, and
/// how often one was refused.
async fn deliver_until(over: &AtomicBool, callback: &Callback, orders: &[String]) -> (usize, usize) {
    let (mut delivered, mut refused) = (0, 0);
    for order in orders.iter().take_while(|_| !over.load(Ordering::Relaxed)) {
        let event = confirmation(order, order, order);
        wait::until("an event to be taken", SOON, async || {
            let answer = callback.event(&event).await;
            refused += usize::from(answer.is_err());
            answer.is_ok()
        })
        .await;
        delivered += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (delivered, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publishers_number_is_kept_with_its_digits() {
    let scene = Scene::start("digits").await;
    scene.shop.place_one("o1").await;
    scene.deliver(&Event::new(CONFIRMED, "e1", json(&confirmed("p1", "o1", "10.1000")))).await;
    scene.settled().await;
    assert_eq!(scene.outcome("e1").await.0, "applied");
    assert!(scene.shop.incidents("o1").await.is_empty());
    let kept = "select convert_from(body, 'UTF8') from order_worker.inbox where event_id = $1";
    assert!(scene.shop.text(kept, "e1").await.contains("10.1000"));
    let line = async || scene.worker.logs().contains("order_id=o1, amount=10.10");
    wait::until_or("the log line", SOON, || scene.worker.log_tail(), line).await;
}
