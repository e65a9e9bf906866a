//! Events that cannot be handled: each is answered SUCCESS, kept with its reason, and holds back nobody.

use dapr::dapr::proto::runtime::v1::TopicEventRequest;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use rig::callback::{Answer, Event};
use rig::payment::{CONFIRMED, FAILED, amount, confirmed, failed, json};
use rig::wait;

use crate::scene::{SOON, Scene, confirmation};

const DEAD_LETTER: &str = "order-worker.dead-letter";
/// A little below the 4 MiB that Dapr can send.
const LARGE: usize = 3_900_000;
const NAME: &str = "Jane Doe";

/// Bodies that cannot be read, each with its topic and the beginning of the reason.
fn unreadable() -> Vec<(&'static str, Vec<u8>, String)> {
    let mut cases: Vec<(&str, Vec<u8>, String)> = Vec::new();
    let mut case = |topic, body: &[u8], reason: &str| cases.push((topic, body.to_vec(), reason.to_owned()));
    case(CONFIRMED, b"", "the event has no data");
    case(CONFIRMED, NAME.as_bytes(), "not JSON");
    case(CONFIRMED, b"\xff\xfe\x00\x01", "not JSON");
    case(CONFIRMED, br#"{"order_id":"o1","#, "not JSON");
    case(CONFIRMED, &[b'{'; 100_000], "not JSON");
    case(CONFIRMED, &vec![b'x'; LARGE], "not JSON");
    case(CONFIRMED, b"null", "wrong shape");
    let fields = br#" ["payment.confirmed","p1","o1",10.10,"USD","confirmed","2026-01-01T00:00:00Z",null,null]"#;
    case(CONFIRMED, fields, "wrong shape: an array");
    case(CONFIRMED, br#""Jane Doe""#, "not JSON");
    case("payment.refunded", b"{}", "no handler for topic `payment.refunded`");
    case("payment.\0", b"{}", "no handler for topic `payment.\u{fffd}`");

    let good = serde_json::to_value(confirmed("p-bad", "o1", "10.10")).unwrap();
    for (field, value, reason) in [
        ("amount", "\"Jane Doe\"", "field `amount` is a text that is no number, expected a number"),
        ("amount", "1e400", "field `amount` is more digits than money has"),
        ("amount", "-1", "field `amount` is a negative number"),
        ("amount", "null", "field `amount` is null"),
        ("amount", "{\"name\":\"Jane Doe\"}", "field `amount` is an object, expected a number"),
        ("order_id", "\"\"", "field `order_id` is a text of 0 bytes"),
        ("order_id", "\"o1\\u0000\"", "field `order_id` is a text with a control character"),
        ("payment_id", "7.5", "field `payment_id` is a number that is not whole"),
        ("payment_id", "[\"Jane Doe\"]", "field `payment_id` is an array, expected a text or a whole number"),
        ("currency", "\"Jane Doe\"", "field `currency` is a text of 8 characters"),
        ("event_type", "\"payment.failed\"", "field `event_type` is `payment.failed`"),
    ] {
        let mut body = good.clone();
        body[field] = "?".into();
        case(CONFIRMED, body.to_string().replace("\"?\"", value).as_bytes(), reason);
    }
    let bad = serde_json::to_value(failed("p-bad", "o1", "10.10", "card declined")).unwrap();
    for (topic, whole) in [(CONFIRMED, good), (FAILED, bad)] {
        for field in ["order_id", "payment_id", "amount", "currency"] {
            let mut body = whole.clone();
            body.as_object_mut().unwrap().remove(field);
            case(topic, body.to_string().as_bytes(), &format!("field `{field}` is missing, expected "));
        }
    }
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_kept_with_its_reason_and_the_next_event_of_the_order_flows() {
    let scene = Scene::start("unreadable").await;
    scene.shop.place(&["o1".into(), "o2".into()]).await;
    let cases = unreadable();
    for (n, (topic, body, reason)) in cases.iter().enumerate() {
        let id = format!("bad-{n}");
        scene.deliver(&Event::new(topic, &id, body.clone())).await;
        let (outcome, said) = scene.outcome(&id).await;
        assert_eq!(outcome, "dead", "{id}: {said}");
        assert!(said.starts_with(reason), "{id}: {said:?} does not begin with {reason:?}");
        assert!(!said.contains(NAME), "{id}: {said}");
    }
    scene.confirm("good-1", "p1", "o1").await;
    scene.confirm("good-2", "p2", "o2").await;
    scene.settled().await;

    assert_eq!(scene.shop.history("o1").await, ["payment_confirmed"]);
    assert_eq!(scene.shop.history("o2").await, ["payment_confirmed"]);
    let kept = scene.shop.count("select count(*) from order_worker.inbox_status where outcome = 'dead'").await;
    assert_eq!(kept, i64::try_from(cases.len()).unwrap());
    let same = scene.shop.count("select count(*) from order_worker.inbox where octet_length(body) = 3900000").await;
    assert_eq!(same, 1, "the large body is kept whole");
    assert_eq!(scene.worker.metric("order_worker_payment_events_failed_total").await, cases.len() as f64);
    let dead = r#"order_worker_inbox_outcomes_total{outcome="dead"}"#;
    let counted = async || scene.worker.metrics().await.get(dead) == Some(&(cases.len() as f64));
    wait::until("all of them to be counted", SOON, counted).await;
    assert!(!scene.worker.logs().contains(NAME), "personal data in the log:\n{}", scene.worker.logs());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_readable_event_says_about_people_is_not_logged() {
    let scene = Scene::start("personal").await;
    scene.shop.place(&["o1".into(), "o2".into(), "o3".into()]).await;
    let mut told = confirmed("p1", "o1", "10.10");
    told.metadata = Some(serde_json::json!({"name": NAME}));
    scene.deliver(&Event::new(CONFIRMED, "e1", json(&told))).await;
    let reason = format!("card of {NAME} declined");
    scene.deliver(&Event::new(FAILED, "e2", json(&failed("p2", "o2", "10.10", &reason)))).await;
    told.status = NAME.into();
    told.payment_id = "p-other".into();
    scene.deliver(&Event::new(CONFIRMED, "e1", json(&told))).await;
    scene.settled().await;
    assert_eq!(scene.shop.history("o2").await, ["payment_failed"]);
    assert_eq!(scene.shop.incidents("o1").await, ["same_id_other_body"]);
    assert!(!scene.worker.logs().contains(NAME), "personal data in the log:\n{}", scene.worker.logs());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_applied_by_what_it_says() {
    let scene = Scene::start("large").await;
    scene.shop.place_one("o1").await;
    let mut large = confirmed("p1", "o1", "10.10");
    large.metadata = Some(serde_json::json!({"note": "x".repeat(LARGE)}));
    scene.deliver(&Event::new(CONFIRMED, "e1", json(&large))).await;
    scene.settled().await;
    assert_eq!(scene.outcome("e1").await.0, "applied");
    assert_eq!(scene.shop.status("o1").await, "payment_confirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_an_unknown_order_waits_for_it_and_holds_back_nobody() {
    let scene = Scene::start("unknown_order").await;
    scene.shop.place_one("o1").await;
    scene.confirm("early", "p9", "o9").await;
    scene.confirm("early-too", "p8", "o8").await;
    scene.confirm("next", "p1", "o1").await;
    wait::until("the next event", SOON, async || scene.outcome("next").await.0 == "applied").await;
    let waits = ("pending".to_owned(), "the order does not exist yet".to_owned());
    wait::until("the early event to wait", SOON, async || scene.outcome("early").await == waits).await;
    assert_eq!(scene.worker.metric("order_worker_payment_events_failed_total").await, 0.0);

    // An order service that only inserts its order, and one that announces it.
    scene.shop.place_one("o9").await;
    scene.shop.place_one("o8").await;
    scene.shop.execute("select order_worker.order_created('o8', 'checkout-8')").await;
    scene.settled().await;
    assert_eq!(scene.outcome("early").await.0, "applied");
    assert_eq!(scene.shop.history("o9").await, ["payment_confirmed"]);
    assert_eq!(scene.shop.history("o8").await, ["pending", "payment_confirmed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_never_comes_makes_its_event_dead_after_the_time_set() {
    let scene = Scene::start_with("never", |spec| spec.env("ORDER_WORKER_INBOX_WAITFORORDER", "1s")).await;
    scene.confirm("early", "p9", "o9").await;
    wait::until("the event to be given up", SOON, async || scene.outcome("early").await.0 == "dead").await;
    assert_eq!(scene.outcome("early").await.1, "the order did not appear within 1s");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_ten_kilobytes_is_an_id_like_any_other() {
    let scene = Scene::start("long_id").await;
    scene.shop.place_one("o1").await;
    let id = "i".repeat(10_000);
    let mut event = confirmation(&id, "p1", "o1");
    event.source = "s".repeat(10_000);
    scene.deliver(&event).await;
    scene.deliver(&event).await;
    scene.settled().await;
    assert_eq!(scene.outcome(&id).await.0, "applied");
    assert_eq!(scene.shop.history("o1").await, ["payment_confirmed"]);
    assert_eq!(scene.shop.count("select duplicates from order_worker.inbox_status").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_without_an_id_are_told_apart_by_what_they_say() {
    let scene = Scene::start("no_id").await;
    scene.shop.place(&["o1".into(), "o2".into()]).await;
    let (first, second) = (confirmation("", "p1", "o1"), confirmation("", "p2", "o2"));
    for event in [&first, &second, &first] {
        scene.deliver(event).await;
    }
    scene.settled().await;
    let applied = ("applied".to_owned(), None);
    assert_eq!(scene.shop.outcomes("").await, [applied.clone(), applied]);
    assert_eq!(scene.shop.count("select sum(duplicates)::bigint from order_worker.inbox_status").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn characters_that_postgres_has_not_are_kept_as_replacements_and_still_tell_events_apart() {
    let scene = Scene::start("nul").await;
    scene.shop.place(&["o1".into(), "o2".into(), "o3".into()]).await;
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    for (id, order) in [("a\0b", "o1"), ("a\u{fffd}b", "o2"), ("a\0\0b", "o3")] {
        let mut request = confirmation(id, order, order).request();
        request.source = "shop\0".into();
        request.r#type = "type\0".into();
        request.data_content_type = "application/json\0".into();
        let nested = Struct { fields: [("k\0".to_owned(), text("v\0"))].into() };
        let fields = [
            ("ext\0".to_owned(), text("value\0")),
            ("traceparent".to_owned(), text("00-\0")),
            ("object".to_owned(), Value { kind: Some(Kind::StructValue(nested)) }),
            ("nan".to_owned(), Value { kind: Some(Kind::NumberValue(f64::NAN)) }),
        ];
        request.extensions = Some(Struct { fields: fields.into() });
        assert_eq!(scene.callback.send(request, None).await.unwrap(), Answer::Success);
    }
    scene.settled().await;
    assert_eq!(scene.shop.outcomes("a\u{fffd}b").await.len(), 2, "shown alike, kept apart");
    for order in ["o1", "o2", "o3"] {
        assert_eq!(scene.shop.history(order).await, ["payment_confirmed"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_with_another_body_is_quarantined_once_and_is_an_incident() {
    let scene = Scene::start("other_body").await;
    scene.shop.place(&["o1".into(), "o2".into()]).await;
    scene.confirm("e1", "p1", "o1").await;
    let mut other = confirmed("p1", "o1", "10.10");
    other.amount = amount("99.99");
    let other = Event::new(CONFIRMED, "e1", json(&other));
    for _ in 0..3 {
        scene.deliver(&other).await;
    }
    // Both bodies, each twice, in one call.
    let again = confirmation("e2", "p2", "o2");
    let mut odd = again.clone();
    odd.data = b"not JSON".to_vec();
    let answers = scene.callback.bulk(CONFIRMED, &[again.clone(), odd.clone(), again, odd]).await.unwrap();
    assert_eq!(answers, [Some(Answer::Success); 4]);
    scene.settled().await;

    for (event, order) in [("e1", "o1"), ("e2", "o2")] {
        let outcomes = scene.shop.outcomes(event).await;
        let names: Vec<_> = outcomes.iter().map(|(outcome, _)| outcome.as_str()).collect();
        assert_eq!(names, ["applied", "quarantined"]);
        assert!(outcomes[1].1.as_ref().unwrap().contains("came before with another body"), "{outcomes:?}");
        assert_eq!(scene.shop.history(order).await, ["payment_confirmed"]);
    }
    assert_eq!(scene.shop.incidents("o1").await, ["same_id_other_body"]);
    let incidents = scene.shop.count("select count(*) from order_worker.incidents where kind = 'same_id_other_body'");
    assert_eq!(incidents.await, 2);
    scene.confirm("e3", "p3", "o1").await;
    scene.settled().await;
    assert_eq!(scene.outcome("e3").await.0, "rejected", "the next event of the order is decided");
}

/// What a subscription gets of an event that Dapr gave up: raw, the whole envelope as it was published; else what was in it.
fn dead_letters(event: &Event) -> [TopicEventRequest; 2] {
    let data: serde_json::Value = serde_json::from_slice(&event.data).unwrap();
    let envelope = serde_json::json!({
        "specversion": "1.0", "id": event.id, "source": event.source, "type": "com.dapr.event.sent",
        "datacontenttype": "application/json", "topic": event.topic, "pubsubname": "pubsub-redis", "data": data,
    });
    let raw = Event::new(DEAD_LETTER, "random", envelope.to_string().into_bytes()).request();
    let unwrapped = TopicEventRequest { topic: DEAD_LETTER.into(), ..event.request() };
    [raw, unwrapped]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_the_event_that_it_was() {
    let scene = Scene::start("dead_letter").await;
    scene.shop.place(&["o1".into(), "o2".into()]).await;
    let (known, lost) = (confirmation("e1", "p1", "o1"), confirmation("e2", "p2", "o2"));
    scene.deliver(&known).await;
    for request in [&known, &lost].into_iter().flat_map(dead_letters) {
        assert_eq!(scene.callback.send(request, None).await.unwrap(), Answer::Success);
    }
    scene.settled().await;
    for (event, order) in [("e1", "o1"), ("e2", "o2")] {
        assert_eq!(scene.outcome(event).await.0, "applied");
        assert_eq!(scene.shop.history(order).await, ["payment_confirmed"]);
    }
    assert_eq!(
        scene.shop.text("select topic from order_worker.inbox_status where event_id = $1", "e2").await,
        CONFIRMED
    );
    assert_eq!(scene.shop.count("select sum(duplicates)::bigint from order_worker.inbox_status").await, 3);
    assert_eq!(scene.worker.metric("order_worker_payment_events_duplicates_total").await, 3.0);
}
