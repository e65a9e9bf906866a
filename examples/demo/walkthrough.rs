//! The second act: orders through their whole life, as people see it. Requests go to the order service through its sidecar,
//! payments to the broker, and the jobs do theirs.

use std::time::Duration;

use comfy_table::{Table, presets};
use rig::order_service::OrderService;
use rig::publisher::Message;
use rig::subscriber::Received;
use rig::{payment, wait};
use serde_json::{Value, json};

use crate::scene::Scene;
use crate::screen::Screen;

/// How long any step may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What the subscriber has to have seen in the end: the statuses in this order.
const SEEN: [(&str, &[&str]); 4] = [
    (
        "shirt",
        &[
            "pending",
            "payment_confirmed",
            "confirmed",
            "shipped",
            "delivered",
            "return requested",
            "return approved",
            "return completed",
            "exchange requested",
            "exchange approved",
            "exchange completed",
        ],
    ),
    ("lamp", &["pending", "confirmed"]),
    ("sofa", &["pending", "cancelled"]),
    ("desk", &["pending", "payment_confirmed", "confirmed", "cancelled"]),
];

/// Plays it and returns what the subscriber saw, as a table, and whether that is what it has to be.
pub async fn play(scene: &Scene, screen: &Screen) -> (String, bool) {
    let walkthrough = Walkthrough { scene, service: &scene.service, screen };
    walkthrough.shirt().await;
    walkthrough.lamp().await;
    walkthrough.sofa_and_cart().await;
    walkthrough.desk().await;
    walkthrough.seen().await
}

struct Walkthrough<'s> {
    scene: &'s Scene,
    service: &'s OrderService,
    screen: &'s Screen,
}

impl Walkthrough<'_> {
    /// Paid by card, confirmed by hand, shipped, delivered; one comes back, one is exchanged.
    async fn shirt(&self) {
        self.place("shirt", "CARD", 2).await;
        self.pay("shirt").await;
        self.post("/orders/shirt/confirm", &json!({ "notes": "size asked for by phone" })).await;
        self.post("/orders/shirt/ship", &json!({ "notes": "DHL 4711" })).await;
        self.post("/orders/shirt/deliver", &json!({})).await;
        let item = self.ask("GET", "/orders/shirt", &Value::Null).await["items"][0]["id"].clone();
        let goods = json!({ "items": [{ "order_item_id": item, "quantity": 1 }], "reason": "too small" });
        self.ask("PUT", "/orders/shirt/returns/ret-1", &goods).await;
        self.post("/returns/ret-1/approve", &Value::Null).await;
        self.post("/returns/ret-1/complete", &Value::Null).await;
        self.ask("PUT", "/orders/shirt/exchanges/ex-1", &goods).await;
        self.post("/exchanges/ex-1/approve", &Value::Null).await;
        self.post("/exchanges/ex-1/complete", &Value::Null).await;
        self.screen.say("shirt: placed, paid, confirmed by hand, shipped, delivered; one is returned, one exchanged");
        // No shirt is left to come back.
        let (status, refused) = self.service.invoke("PUT", "/orders/shirt/returns/ret-2", &goods).await;
        assert_eq!(status, 409, "{refused}");
        self.screen.say(format!(
            "shirt: a third one to come back is refused: {}",
            refused["error"].as_str().unwrap_or_default()
        ));
    }

    /// Paid on delivery.
    async fn lamp(&self) {
        self.place("lamp", "COD", 1).await;
        self.post("/orders/lamp/deliver", &json!({})).await;
        self.until_status("lamp", "confirmed").await;
        self.screen.say("lamp: cash on delivery; delivered, and confirmed by the job cod_auto_confirm");
    }

    /// Left in a cart, and ordered but never paid.
    async fn sofa_and_cart(&self) {
        self.ask("PUT", "/carts/cart-1", &json!({ "items": [{ "sku": "SOFA", "quantity": 1 }] })).await;
        self.place("sofa", "CARD", 1).await;
        for aged in [
            "update carts set updated_at = updated_at - interval '8 days' where id = 'cart-1'",
            "update orders set created_at = created_at - interval '25 hours' where id = 'sofa'",
        ] {
            sqlx::query(aged).execute(&self.scene.pool).await.unwrap();
        }
        self.give_up_what_nobody_can_read().await;
        self.until_status("sofa", "cancelled").await;
        wait::until("the cart to be deleted", LIMIT, async || {
            sqlx::query_scalar::<_, i64>("select count(*) from carts").fetch_one(&self.scene.pool).await.unwrap() == 0
        })
        .await;
        self.screen.say(
            "sofa: made 25 hours old without a payment, and cancelled by order_cleanup; a cart of 8 days is deleted",
        );
    }

    /// Events whose order nobody can tell may speak of any order: while they are there, no job gives one up that was placed before.
    async fn give_up_what_nobody_can_read(&self) {
        let count = "select count(*) from order_worker.pending where queue = 'inbox' and state = 'dead'";
        let dead: i64 = sqlx::query_scalar(count).fetch_one(&self.scene.pool).await.unwrap();
        let worker = &self.scene.stack.worker;
        let (rows, reason) = (dead.to_string(), "published as nonsense");
        let skip = ["dead", "skip", "--queue", "inbox", "--confirm", &rows, "--as", "demo", "--reason", reason];
        let done = rig::worker::run(&worker.binary, &skip, &[("DATABASE_URL", &worker.database_url)]).await;
        assert!(done.status.success(), "dead skip: {}", String::from_utf8_lossy(&done.stderr));
        self.screen.say(format!(
            "sofa: spared at first, since one of {dead} events that nobody can read may be its payment; order-worker dead skip gives them up"
        ));
    }

    /// Cancelled by the customer after it was confirmed: what was sold goes back to the stock.
    async fn desk(&self) {
        self.place("desk", "CARD", 1).await;
        self.pay("desk").await;
        self.post("/orders/desk/confirm", &json!({})).await;
        self.post("/orders/desk/cancel", &json!({ "reason": "Found another one" })).await;
        wait::until("the desk to be back in the stock", LIMIT, async || {
            self.scene.stack.warehouse.released().into_values().any(|effect| effect.reservation_id == "res-desk")
        })
        .await;
        self.screen.say("desk: paid, confirmed, and cancelled by the customer; the warehouse has it back");
    }

    async fn place(&self, order: &str, payment_method: &str, quantity: u32) {
        let body = json!({
            "payment_method": payment_method, "currency": "USD", "total_amount": "10.10", "user_id": "user-1",
            "items": [{ "sku": order.to_uppercase(), "quantity": quantity, "reservation_id": format!("res-{order}") }],
        });
        self.ask("PUT", &format!("/orders/{order}"), &body).await;
    }

    async fn pay(&self, order: &str) {
        let data = payment::json(&payment::confirmed(&format!("pay-{order}"), order, "10.10"));
        let message = Message::new(payment::CONFIRMED, &format!("pay-{order}"), data);
        self.scene.stack.publisher.publish_until_taken(&message).await;
        self.until_status(order, "payment_confirmed").await;
    }

    async fn until_status(&self, order: &str, status: &str) {
        wait::until(&format!("{order} to be {status}"), LIMIT, async || {
            self.ask("GET", &format!("/orders/{order}"), &Value::Null).await["status"] == status
        })
        .await;
    }

    async fn post(&self, path: &str, body: &Value) {
        self.ask("POST", path, body).await;
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.service.invoke(method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Waits until everything has arrived at the subscriber.
    async fn seen(&self) -> (String, bool) {
        let seen = || -> Vec<(&str, Vec<String>)> {
            let received = self.scene.stack.subscriber.received();
            let mut once = std::collections::HashSet::new();
            let first: Vec<_> = received.iter().filter(|one| once.insert(one.event_id.clone())).collect();
            let of = |order: &str| first.iter().filter(|one| one.order_id == order).map(|one| told(one)).collect();
            SEEN.map(|(order, _)| (order, of(order))).into()
        };
        let due: usize = SEEN.iter().map(|(_, steps)| steps.len()).sum();
        let all = async || seen().iter().map(|(_, steps)| steps.len()).sum::<usize>() >= due;
        wait::until_or("the subscriber to see all of it", LIMIT, || format!("{:#?}", seen()), all).await;
        let seen = seen();
        // The order among topics is the broker's; within one it holds.
        let statuses =
            |steps: &[String]| -> Vec<String> { steps.iter().filter(|step| !step.contains(' ')).cloned().collect() };
        let right = seen.iter().zip(SEEN).all(|((_, seen), (_, due))| {
            let due: Vec<String> = due.iter().map(|step| (*step).to_owned()).collect();
            let sorted = |steps: &[String]| steps.iter().cloned().collect::<std::collections::BTreeSet<_>>();
            statuses(seen) == statuses(&due) && sorted(seen) == sorted(&due) && seen.len() == due.len()
        });
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["order", "what fulfillment saw, each once by its id"]);
        for (order, steps) in &seen {
            let lines: Vec<String> = steps.chunks(6).map(|some| some.join(" > ")).collect();
            table.add_row([(*order).to_owned(), lines.join(" >\n")]);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        (table.trim_fmt(), right)
    }
}

/// An announcement in a word or two: the new status, or what became of a return or an exchange.
fn told(received: &Received) -> String {
    if received.new_status.is_empty() {
        received.topic.trim_start_matches("order.").replace('.', " ")
    } else {
        received.new_status.clone()
    }
}
