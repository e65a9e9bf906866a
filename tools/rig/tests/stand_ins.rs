//! The stand-ins: the warehouse and the sidecar that only takes publishes.

use std::time::Duration;

use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::{GetMetadataRequest, GetSecretRequest, PublishEventRequest};
use rig::behaviour::{Behaviour, Gate};
use rig::payment;
use rig::sidecar::{Sidecar, component_missing};
use rig::wait::{self, SOON};
use rig::warehouse::proto::warehouse_service_client::WarehouseServiceClient;
use rig::warehouse::proto::{ConfirmReservationRequest, ReleaseReservationRequest};
use rig::warehouse::{Effect, Method, Warehouse};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

fn lazily(port: u16) -> Channel {
    Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap().connect_lazy()
}

async fn confirm(warehouse: &Warehouse, id: &str, key: &'static str) -> Result<(), Status> {
    confirm_within(SOON, warehouse, id, key).await
}

async fn confirm_within(limit: Duration, warehouse: &Warehouse, id: &str, key: &'static str) -> Result<(), Status> {
    let port = warehouse.addr().rsplit(':').next().unwrap().parse().unwrap();
    let mut request = Request::new(ConfirmReservationRequest { reservation_id: id.into() });
    request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
    request.metadata_mut().insert("traceparent", "00-1-2-01".parse().unwrap());
    request.set_timeout(limit);
    WarehouseServiceClient::new(lazily(port)).confirm_reservation(request).await.map(|_| ())
}

#[tokio::test]
async fn the_warehouse_counts_by_key_and_behaves_as_told() {
    let warehouse = Warehouse::start();
    confirm(&warehouse, "r1", "k1").await.unwrap();
    confirm(&warehouse, "r1", "k1").await.unwrap();
    assert_eq!(warehouse.confirmed()["k1"], Effect { reservation_id: "r1".into(), times: 2 });
    assert_eq!(warehouse.calls()[0].traceparent.as_deref(), Some("00-1-2-01"));

    warehouse.set(Behaviour::Refuse(Code::FailedPrecondition));
    assert_eq!(confirm(&warehouse, "r2", "k2").await.unwrap_err().code(), Code::FailedPrecondition);
    warehouse.set(Behaviour::Flap(2));
    let flapped = [confirm(&warehouse, "r3", "k3").await, confirm(&warehouse, "r3", "k3").await];
    assert_eq!(flapped.map(|answer| answer.is_ok()), [true, false]);
    warehouse.set(Behaviour::Hang);
    assert!(confirm_within(Duration::from_secs(2), &warehouse, "r4", "k4").await.is_err());
    warehouse.set(Behaviour::Slow(Duration::from_millis(20)));
    confirm(&warehouse, "r5", "k5").await.unwrap();
    let gate = Gate::new();
    warehouse.set(Behaviour::Held(gate.clone()));
    assert!(confirm_within(Duration::from_secs(2), &warehouse, "r8", "k8").await.is_err());
    gate.open();
    confirm(&warehouse, "r9", "k9").await.unwrap();
    warehouse.set(Behaviour::Answer);
    warehouse.behaviours().set_for("r6", Behaviour::Refuse(Code::NotFound));
    assert_eq!(confirm(&warehouse, "r6", "k6").await.unwrap_err().code(), Code::NotFound);
    confirm(&warehouse, "r7", "k7").await.unwrap();
    assert_eq!(warehouse.confirmed().keys().collect::<Vec<_>>(), ["k1", "k3", "k5", "k7", "k9"]);
    assert_eq!(warehouse.calls().len(), 11);
}

#[tokio::test]
async fn the_warehouse_goes_away_and_comes_back_on_its_port() {
    let warehouse = Warehouse::start();
    let port = warehouse.addr().rsplit(':').next().unwrap().parse().unwrap();
    let mut client = WarehouseServiceClient::new(lazily(port));
    let release = || ReleaseReservationRequest { reservation_id: "r1".into(), reason: "Payment failed".into() };
    client.release_reservation(release()).await.unwrap();

    warehouse.set(Behaviour::Hang);
    let mut hanging = client.clone();
    let hangs = tokio::spawn(async move { hanging.release_reservation(release()).await });
    wait::until("the hanging call", SOON, async || warehouse.calls().len() == 2).await;
    warehouse.stop();
    assert!(hangs.await.unwrap().is_err());
    let refused = async || client.clone().release_reservation(release()).await.unwrap_err().code();
    wait::until("a refused connection", SOON, async || refused().await == Code::Unavailable).await;

    warehouse.set(Behaviour::Answer);
    warehouse.start_again();
    wait::until("an answer", SOON, async || client.release_reservation(release()).await.is_ok()).await;
    let calls = warehouse.calls();
    assert_eq!((calls[0].method, calls[0].reason.as_str()), (Method::Release, "Payment failed"));
    assert_eq!(warehouse.released()["r1"].times, 2);
}

#[tokio::test]
async fn the_sidecar_books_publishes_and_refuses_chosen_orders() {
    let sidecar = Sidecar::start();
    let mut client = DaprClient::new(lazily(sidecar.grpc_port()));
    let publish = |order: &str| PublishEventRequest {
        pubsub_name: "pubsub-redis".into(),
        topic: payment::CONFIRMED.into(),
        data: payment::json(&payment::confirmed("p1", order, "10.10")),
        data_content_type: "application/json".into(),
        metadata: [("cloudevent.id".to_owned(), "e1".to_owned())].into(),
    };
    client.publish_event(publish("o1")).await.unwrap();
    sidecar.behaviours().set_for("o2", Behaviour::Refuse(Code::InvalidArgument));
    assert_eq!(client.publish_event(publish("o2")).await.unwrap_err().code(), Code::InvalidArgument);
    sidecar.set(component_missing());
    let missing = client.publish_event(publish("o3")).await.unwrap_err();
    assert_eq!(missing.get_details_error_info().unwrap().reason, "DAPR_PUBSUB_NOT_FOUND");
    sidecar.set(Behaviour::Answer);
    client.publish_event(publish("o3")).await.unwrap();
    let published = sidecar.published();
    assert_eq!(published.iter().map(|p| p.json()["order_id"].clone()).collect::<Vec<_>>(), ["o1", "o3"]);
    assert_eq!(published[0].event_id(), Some("e1"));

    assert_eq!(client.get_metadata(GetMetadataRequest {}).await.unwrap().into_inner().id, "stand-in");
    assert_eq!(client.get_secret(GetSecretRequest::default()).await.unwrap_err().code(), Code::Unimplemented);
}
