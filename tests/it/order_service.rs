//! The example order API, called through its own real sidecar.

use rig::order_service::OrderService;
use rig::redis::Redis;
use rig::stack::Direct;
use serde_json::{Value, json};

use crate::main_path::WORKER;
use crate::shop::Shop;

#[tokio::test(flavor = "multi_thread")]
async fn the_order_api_moves_orders_and_says_why_where_it_does_not() {
    let direct = Direct::start("order_service", WORKER).await;
    let redis = Redis::start().await;
    let service = OrderService::start(WORKER.as_ref(), &direct.worker.database_url, &redis.addr()).await;
    let shop = Shop::open(&direct.worker.database_url).await;
    let order =
        |items: Value| json!({ "payment_method": "CARD", "currency": "USD", "total_amount": "10.10", "items": items });
    let placed = order(json!([{ "sku": "SHIRT", "quantity": 1, "reservation_id": "res-1" }]));
    let none = Value::Null;

    // Asked again, it is placed once.
    assert_eq!(service.invoke("PUT", "/orders/o1", &placed).await.0, 201);
    assert_eq!(service.invoke("PUT", "/orders/o1", &placed).await.0, 200);
    let (status, shown) = service.invoke("GET", "/orders/o1", &none).await;
    assert_eq!((status, &shown["status"], &shown["total_amount"]), (200, &"pending".into(), &"10.10".into()));

    for (method, path, body, status, words) in [
        ("GET", "/orders/nobody", none.clone(), 404, "order nobody does not exist"),
        ("POST", "/orders/nobody/ship", json!({}), 404, "order nobody does not exist"),
        ("POST", "/orders/o1/ship", json!({}), 409, "order o1 is pending: it cannot become shipped"),
        ("PUT", "/orders/o2", order(json!([])), 422, "an order has 1 to 50 items, not 0"),
        ("POST", "/returns/r1/approve", none.clone(), 404, "return r1 does not exist"),
    ] {
        let (answered, problem) = service.invoke(method, path, &body).await;
        assert_eq!((answered, &problem["error"]), (status, &words.into()), "{method} {path}");
    }
    let (status, problem) = service.invoke("PUT", "/orders/o3", &json!({ "total_amount": "much" })).await;
    assert_eq!((status, problem), (422, none.clone()), "axum's own answer");

    for path in ["/orders/o1/confirm", "/orders/o1/ship", "/orders/o1/deliver", "/orders/o1/deliver"] {
        assert_eq!(service.invoke("POST", path, &json!({})).await.0, 204, "{path}");
    }
    let goods = json!({ "items": [{ "order_item_id": shown["items"][0]["id"], "quantity": 1 }] });
    assert_eq!(service.invoke("PUT", "/orders/o1/returns/r1", &goods).await.0, 201);
    assert_eq!(service.invoke("POST", "/returns/r1/approve", &none).await.0, 204);
    assert_eq!(shop.history("o1").await, ["pending", "confirmed", "shipped", "delivered"]);
    let announced = "select count(*) from order_worker.outbox_status where channel = 'dapr' and state = 'pending'";
    assert_eq!(shop.count(announced).await, 6, "the worker's to publish");
}
