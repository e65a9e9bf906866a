//! The other door: what the API pod may do to an order, and what happens then.

use order_worker::order_api::{Goods, OrderApi, OrderApiError};
use rig::stack::migrated;

use crate::cron::only;
use crate::main_path::WORKER;
use crate::scene::Scene;
use crate::shop::Shop;

/// A database with one pending card order (`o1`, one reserved item) and one that is paid on delivery (`cod`).
async fn shop(name: &str) -> Shop {
    let shop = Shop::open(&migrated(name, WORKER.as_ref()).await).await;
    shop.place(&["o1", "cod"].map(str::to_owned)).await;
    shop.execute("update orders set payment_method = 'COD' where id = 'cod'; update order_items set quantity = 3")
        .await;
    shop
}

impl Shop {
    /// One request in a transaction of its own.
    async fn request(
        &self,
        cause: &str,
        what: impl AsyncFnOnce(&mut OrderApi<'_>) -> Result<(), OrderApiError>,
    ) -> Result<(), OrderApiError> {
        let mut tx = self.pool.begin().await.unwrap();
        let done = what(&mut OrderApi::new(&mut tx, cause)).await;
        if done.is_ok() { tx.commit().await } else { tx.rollback().await }.unwrap();
        done
    }

    /// The same, which is refused with these words.
    #[track_caller]
    fn refused<'a>(
        &'a self,
        words: &'a str,
        what: impl AsyncFnOnce(&mut OrderApi<'_>) -> Result<(), OrderApiError> + 'a,
    ) -> impl Future<Output = ()> + 'a {
        let place = std::panic::Location::caller();
        async move {
            let refused = self.request("refused", what).await.map_err(|error| error.to_string());
            assert_eq!(refused, Err(words.to_owned()), "at {place}");
        }
    }

    async fn outbox(&self, channel: &str) -> Vec<String> {
        sqlx::query_scalar(
            "select concat_ws(' ', topic, body ->> 'new_status', body ->> 'status', body ->> 'reservation_id')
             from order_worker.outbox where channel = $1 order by id",
        )
        .bind(channel)
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    async fn item(&self, order: &str) -> i64 {
        sqlx::query_scalar("select id from order_items where order_id = $1")
            .bind(order)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    async fn delivered(&self) {
        self.request("confirm", async |api| api.confirm("o1", None).await).await.unwrap();
        self.request("ship", async |api| api.ship("o1", None).await).await.unwrap();
        self.request("deliver", async |api| api.deliver("o1", None).await).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_made_again_does_nothing_twice() {
    let shop = shop("order_api_again").await;
    for _ in 0..3 {
        shop.delivered().await;
    }
    assert_eq!(shop.history("o1").await, ["confirmed", "shipped", "delivered"]);
    assert_eq!(shop.outbox("dapr").await.len(), 3);
    assert_eq!(shop.outbox("warehouse").await, ["ConfirmReservation res-o1"]);
    assert_eq!(shop.text("select delivered::text from orders where id = $1", "o1").await, "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_that_the_machine_does_not_have_are_refused_with_the_reason() {
    let shop = shop("order_api_refused").await;
    shop.refused("order nobody does not exist", async |api| api.ship("nobody", None).await).await;
    shop.refused("order o1 is pending: it cannot become shipped", async |api| api.ship("o1", None).await).await;
    shop.refused("order o1 is pending: it cannot become delivered", async |api| api.deliver("o1", None).await).await;
    let goods = [Goods { order_item_id: shop.item("o1").await.into(), quantity: 1 }];
    shop.refused("order o1 is pending: goods come back from a delivered order", async |api| {
        api.request_return("r1", "o1", &goods, None).await
    })
    .await;
    shop.refused("return r1 does not exist", async |api| api.approve_return("r1").await).await;
    assert!(shop.history("o1").await.is_empty() && shop.outbox("dapr").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_gives_its_goods_back_those_that_were_sold_too() {
    let shop = shop("order_api_cancelled").await;
    shop.request("c1", async |api| api.confirm("o1", None).await).await.unwrap();
    for _ in 0..2 {
        shop.request("c2", async |api| api.cancel("o1", "Changed my mind").await).await.unwrap();
    }
    assert_eq!(shop.history("o1").await, ["confirmed", "cancelled"]);
    assert_eq!(shop.outbox("warehouse").await, ["ConfirmReservation res-o1", "ReleaseReservation res-o1"]);
    assert_eq!(shop.text("select reservation_status from order_items where order_id = $1", "o1").await, "releasing");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_comes_back_than_was_ordered() {
    let shop = shop("order_api_returns").await;
    shop.delivered().await;
    let item = shop.item("o1").await;
    let goods = |quantity| [Goods { order_item_id: item.into(), quantity }];
    shop.request("r1", async |api| api.request_return("ret-1", "o1", &goods(2), None).await).await.unwrap();
    let too_many = format!("exchange ex-1 wants 2 of item {item}: order o1 has 3 of it, of which 2 came back already");
    shop.refused(&too_many, async |api| api.request_exchange("ex-1", "o1", &goods(2), None).await).await;
    let nothing = format!("exchange ex-1 wants 0 of item {item}: order o1 has 3 of it, of which 2 came back already");
    shop.refused(&nothing, async |api| api.request_exchange("ex-1", "o1", &goods(0), None).await).await;
    let other = shop.item("cod").await;
    let foreign = format!("return ret-2 wants 1 of item {other}: order o1 has 0 of it, of which 0 came back already");
    let goods_of_another = [Goods { order_item_id: other.into(), quantity: 1 }];
    shop.refused(&foreign, async |api| api.request_return("ret-2", "o1", &goods_of_another, None).await).await;
    shop.refused("the items of return ret-2 are a list of one or more", async |api| {
        api.request_return("ret-2", "o1", &[], None).await
    })
    .await;
    // What was rejected does not count.
    shop.request("r2", async |api| api.reject_return("ret-1", "worn").await).await.unwrap();
    shop.refused("return ret-1 is rejected: it cannot become approved", async |api| api.approve_return("ret-1").await)
        .await;
    shop.request("x1", async |api| api.request_exchange("ex-1", "o1", &goods(3), Some("too small")).await)
        .await
        .unwrap();
    shop.request("x2", async |api| api.approve_exchange("ex-1").await).await.unwrap();
    shop.request("x3", async |api| api.complete_exchange("ex-1").await).await.unwrap();
    shop.request("x3", async |api| api.complete_exchange("ex-1").await).await.unwrap();
    assert_eq!(
        shop.outbox("dapr").await[3..],
        [
            "order.return.requested requested",
            "order.return.rejected rejected",
            "order.exchange.requested requested",
            "order.exchange.approved approved",
            "order.exchange.completed completed"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_requests_at_once_take_no_more_back_than_was_ordered() {
    let shop = shop("order_api_at_once").await;
    shop.delivered().await;
    let goods = [Goods { order_item_id: shop.item("o1").await.into(), quantity: 2 }];
    let one = shop.request("r1", async |api| api.request_return("ret-1", "o1", &goods, None).await);
    let other = shop.request("r2", async |api| api.request_return("ret-2", "o1", &goods, None).await);
    let (one, other) = tokio::join!(one, other);
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_paid_on_delivery_is_confirmed_by_the_job_after_it_was_delivered() {
    let scene = Scene::start_with("order_api_cod", |spec| only(spec, &["cod_auto_confirm"], "* * * * * *")).await;
    scene.shop.place_one("cod").await;
    scene.shop.execute("update orders set payment_method = 'COD'").await;
    scene.shop.request("c1", async |api| api.created("cod").await).await.unwrap();
    scene.shop.request("c2", async |api| api.deliver("cod", None).await).await.unwrap();
    let confirmed = async || scene.shop.status("cod").await == "confirmed";
    rig::wait::until("the job", crate::scene::SOON, confirmed).await;
    scene.settled().await;
    assert_eq!(scene.shop.history("cod").await, ["pending", "confirmed"]);
    assert_eq!(scene.direct.sidecar.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_again_with_other_arguments_is_an_error_and_not_swallowed() {
    let shop = shop("order_api_other_arguments").await;
    shop.place(&["o2".to_owned()]).await;
    let item = shop.item("o1").await;
    let goods = |quantity| [Goods { order_item_id: item.into(), quantity }];
    let conflict = |done: Result<(), OrderApiError>, what: &str| match done {
        Err(OrderApiError::Conflict(why)) => assert!(why.contains("with other arguments"), "{what}: {why}"),
        other => panic!("{what}: {other:?}"),
    };
    macro_rules! once {
        ($cause:literal, $method:ident($($first:expr),*) then ($($other:expr),*)) => {
            for _ in 0..2 {
                shop.request($cause, async |api| api.$method($($first),*).await).await.unwrap();
            }
            conflict(shop.request($cause, async |api| api.$method($($other),*).await).await, stringify!($method));
        };
    }
    once!("c1", confirm("o1", Some("by phone")) then ("o1", Some("by mail")));
    once!("c2", ship("o1", Some("DHL 4711")) then ("o1", None));
    once!("c3", deliver("o1", None) then ("o1", Some("at the door")));
    once!("c4", request_return("ret-1", "o1", &goods(1), Some("worn")) then ("ret-1", "o1", &goods(2), Some("worn")));
    once!("c4", request_return("ret-1", "o1", &goods(1), Some("worn")) then ("ret-1", "o1", &goods(1), None));
    once!("c5", reject_return("ret-1", "too late") then ("ret-1", "too worn"));
    once!("c6", request_exchange("ex-1", "o1", &goods(1), None) then ("ex-1", "o1", &goods(2), None));
    once!("c8", cancel("o2", "Changed my mind") then ("o2", "Too dear"));
    assert_eq!(shop.history("o1").await, ["confirmed", "shipped", "delivered"]);
    assert_eq!(shop.history("o2").await, ["cancelled"]);

    // The same through SQL, with the code and the hint that `announce` gives.
    shop.place(&["o3".to_owned()]).await;
    shop.execute("select order_worker.order_created('o3', 'c9'); select order_worker.order_created('o3', 'c9')").await;
    for (first, other) in [
        ("change_order('o3', 'confirmed', 'a', 'b', 'c10')", "change_order('o3', 'confirmed', 'a', null, 'c10')"),
        ("change_order('o3', 'confirmed', 'a', 'b', 'c10')", "change_order('o3', 'confirmed', 'b', 'a', 'c10')"),
        ("ship_order('o3', 'x', 'c11')", "ship_order('o3', 'y', 'c11')"),
        ("deliver_order('o3', null, 'c12')", "deliver_order('o3', 'y', 'c12')"),
        (
            "request_exchange('ex-3', 'o3', (select jsonb_build_array(jsonb_build_object('order_item_id', id, 'quantity', 1)) from order_items where order_id = 'o3'), null, 'c13')",
            "request_exchange('ex-3', 'o3', '[]', null, 'c13')",
        ),
        ("change_exchange('ex-3', 'approved', null, 'c14')", "change_exchange('ex-3', 'approved', 'quickly', 'c14')"),
        (
            "announce('order.return.requested', 'o3', '{}', 'c15')",
            "announce('order.return.requested', 'o3', '{\"a\": 1}', 'c15')",
        ),
    ] {
        for _ in 0..2 {
            shop.execute(&format!("select order_worker.{first}")).await;
        }
        let refused =
            sqlx::raw_sql(sqlx::AssertSqlSafe(format!("select order_worker.{other}"))).execute(&shop.pool).await;
        let refused = refused.unwrap_err().into_database_error().unwrap();
        let refused = refused.downcast_ref::<sqlx::postgres::PgDatabaseError>();
        assert_eq!(refused.code(), "23505", "{other}: {refused}");
        assert!(refused.hint().unwrap().contains("give another cause"), "{other}: {refused}");
    }
    // Another order under one cause is another thing, as with `announce`.
    shop.place(&["o4".to_owned(), "o5".to_owned()]).await;
    for order in ["o4", "o5"] {
        shop.request("together", async |api| api.created(order).await).await.unwrap();
        assert_eq!(shop.history(order).await, ["pending"]);
    }
}
