//! The real sidecar and Redis: the project's dapr/ files load, events go through, and both survive a kill.

use dapr::dapr::proto::runtime::v1::TopicSubscription;
use rig::behaviour::Behaviour;
use rig::callback::{Answer, Callback, Event};
use rig::daprd::{Daprd, DaprdSpec};
use rig::payment;
use rig::publisher::{Message, Publisher};
use rig::redis::Redis;
use rig::subscriber::{Subscriber, raw_subscription, subscription};
use rig::wait::{self, SOON};
use tonic::{Code, Status};
use tonic_types::StatusExt;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn reason(status: &Status) -> Option<String> {
    Some(status.get_details_error_info()?.reason)
}

fn paid(id: &str, order: &str) -> Message {
    Message::new(payment::CONFIRMED, id, payment::json(&payment::confirmed("p1", order, "10.10")))
}

#[tokio::test]
async fn events_go_from_one_sidecar_to_another() {
    let redis = Redis::start().await;
    let addr = redis.addr();
    let (daprd, subscriber) = tokio::join!(
        Daprd::start(DaprdSpec::new("payment-service", &addr)),
        Subscriber::start("fulfillment", &addr, &[payment::CONFIRMED, "odd"]),
    );
    let loaded = daprd.metadata().await["components"].clone();
    assert_eq!((loaded[0]["name"].as_str(), loaded[0]["type"].as_str()), (Some("pubsub-redis"), Some("pubsub.redis")));
    assert!(daprd.logs().contains("Loading Resiliency configuration: order-worker"), "{}", daprd.logs());

    let publisher = Publisher::new(daprd.grpc_port());
    let tracestate = ("cloudevent.tracestate".to_owned(), "rojo=1,congo=2".to_owned());
    let message = Message { traceparent: Some(TRACE.into()), metadata: vec![tracestate], ..paid("e1", "o1") };
    publisher.publish(&message).await.unwrap();
    wait::until("the event", SOON, async || subscriber.count() == 1).await;
    let received = &subscriber.received()[0];
    assert_eq!((received.event_id.as_str(), received.order_id.as_str()), ("e1", "o1"));
    assert_eq!(received.source, "payment-service");
    assert_eq!(received.extensions.get("traceparent").map(String::as_str), Some(TRACE), "{received:?}");
    assert_eq!(received.extensions.get("tracestate").map(String::as_str), Some("rojo=1,congo=2"), "{received:?}");

    let stream = redis.stream(payment::CONFIRMED).await;
    assert_eq!((stream.len(), stream[0].event_id(), stream[0].field("order_id")), (1, "e1", "o1"));
    assert!(String::from_utf8_lossy(&stream[0].data).contains("10.10"));
    wait::until("the acknowledgement", SOON, async || {
        redis.pending(payment::CONFIRMED, "fulfillment").await == Some(0)
    })
    .await;
    assert_eq!(redis.unfinished(payment::CONFIRMED, "fulfillment").await, 0);
    assert_eq!(redis.unfinished(payment::CONFIRMED, "nobody").await, 1);
    assert_eq!(redis.unfinished("silent", "nobody").await, 0);

    let own_source = Message { source: Some("elsewhere".into()), ..Message::new("odd", "e3", b"{}".to_vec()) };
    publisher.publish(&own_source).await.unwrap();
    wait::until("an event of another source", SOON, async || subscriber.count() == 2).await;
    assert_eq!(subscriber.received()[1].source, "elsewhere");

    let callback = Callback::new(subscriber.port());
    let mut direct = Event::new(payment::CONFIRMED, "e4", message.data.clone());
    direct.traceparent = Some(TRACE.into());
    assert_eq!(callback.event(&direct).await.unwrap(), Answer::Success);
    let (by_sidecar, by_callback) = (&subscriber.received()[0], &subscriber.received()[2]);
    assert_eq!(by_callback.data["amount"], by_sidecar.data["amount"]);
    assert_eq!(
        (by_callback.event_type.as_str(), by_callback.topic.as_str()),
        (by_sidecar.event_type.as_str(), by_sidecar.topic.as_str())
    );
    assert_eq!(callback.subscriptions().await.unwrap().len(), 2);
    callback.health().await.unwrap();
    assert_eq!(callback.bulk("odd", &[direct]).await.unwrap_err().code(), Code::Unimplemented);
    subscriber.stop();
    assert!(callback.health().await.is_err());
    publisher.publish(&paid("e5", "o5")).await.unwrap();
    wait::until("a refused delivery", SOON, async || redis.pending(payment::CONFIRMED, "fulfillment").await == Some(1))
        .await;
    subscriber.start_again();
    wait::until("the held event", SOON, async || subscriber.received().iter().any(|event| event.event_id == "e5"))
        .await;
}

#[tokio::test]
async fn redis_and_the_sidecar_survive_a_kill_with_their_events() {
    let redis = Redis::start().await;
    let addr = redis.addr();
    let (daprd, subscriber) = tokio::join!(
        Daprd::start(DaprdSpec::new("payment-service", &addr)),
        Subscriber::start("fulfillment", &addr, &[payment::CONFIRMED]),
    );
    let publisher = Publisher::new(daprd.grpc_port());
    subscriber.set(Behaviour::Refuse(Code::Unavailable));
    publisher.publish(&paid("e1", "o1")).await.unwrap();
    daprd.kill9();
    assert!(publisher.publish(&paid("lost", "o1")).await.is_err());
    redis.restart().await;
    daprd.restart().await;
    wait::until("a publish", SOON, async || publisher.publish(&paid("e2", "o2")).await.is_ok()).await;
    subscriber.set(Behaviour::Answer);
    wait::until("both events", SOON, async || {
        let ids: std::collections::BTreeSet<String> =
            subscriber.received().into_iter().map(|event| event.event_id).collect();
        ids.iter().eq(["e1", "e2"])
    })
    .await;
}

#[tokio::test]
async fn a_sidecar_refuses_without_its_component_and_outside_its_scope() {
    let redis = Redis::start().await;
    let without = DaprdSpec { with_component: false, ..DaprdSpec::new("payment-service", &redis.addr()) };
    let daprd = Daprd::start(without).await;
    let publisher = Publisher::new(daprd.grpc_port());
    let refusal = async || publisher.publish(&paid("e1", "o1")).await.unwrap_err();
    // The code of an invalid message, so only the reason in the details tells that all others fail too.
    let absent = refusal().await;
    assert_eq!(absent.code(), Code::InvalidArgument);
    assert_eq!(reason(&absent).as_deref(), Some("DAPR_PUBSUB_NOT_FOUND"));
    let scope = ("publishingScopes".to_owned(), "payment-service=".to_owned());
    daprd.restart_with(|spec| (spec.with_component, spec.metadata) = (true, vec![scope])).await;
    wait::until("a refused scope", SOON, async || refusal().await.code() == Code::PermissionDenied).await;
    assert_eq!(reason(&refusal().await).as_deref(), Some("DAPR_PUBSUB_FORBIDDEN"));
    daprd.restart_with(|spec| spec.metadata.clear()).await;
    wait::until("a publish", SOON, async || publisher.publish(&paid("e1", "o1")).await.is_ok()).await;
    assert_eq!(redis.stream_len(payment::CONFIRMED).await, 1);
}

// What is no CloudEvent never reaches a plain subscription: the sidecar sends it to the dead-letter topic untried, and there
// again only a raw subscription can be given it.
#[tokio::test]
async fn bytes_that_are_no_cloud_event_arrive_by_a_raw_dead_letter_subscription() {
    let redis = Redis::start().await;
    let addr = redis.addr();
    let plain = TopicSubscription { dead_letter_topic: "dead".into(), ..subscription(payment::CONFIRMED) };
    let (daprd, subscriber) = tokio::join!(
        Daprd::start(DaprdSpec::new("payment-service", &addr)),
        Subscriber::start_with(
            DaprdSpec { app_health: true, ..DaprdSpec::new("app", &addr) },
            vec![plain, raw_subscription("dead")]
        ),
    );
    let publisher = Publisher::new(daprd.grpc_port());
    let body = b"\xff not JSON".to_vec();
    let raw = Message { raw: true, ..Message::new(payment::CONFIRMED, "e1", body.clone()) };
    publisher.publish(&raw).await.unwrap();
    publisher.publish(&paid("e2", "o2")).await.unwrap();
    wait::until("both events", SOON, async || subscriber.count() == 2).await;
    let received = subscriber.received();
    let dead = received.iter().find(|event| event.topic == "dead").unwrap();
    assert_eq!(dead.body, body, "{dead:?}");
    assert!(received.iter().any(|event| event.event_id == "e2"));
    assert_eq!(redis.stream(payment::CONFIRMED).await[0].data, body);
}
