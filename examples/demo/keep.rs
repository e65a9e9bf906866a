//! KEEP=1: what runs, where, and commands to look at it.

use rig::{orders, run_dir};

use crate::scene::Scene;
use crate::screen::Screen;

/// An order beyond the plan, for a payment by hand.
const ORDER: &str = "one-more";

/// Places one more order and prints everything.
pub async fn show(scene: &Scene, screen: &Screen) {
    orders::place(&scene.pool, &[ORDER.to_owned()]).await;
    let stack = &scene.stack;
    let database = &scene.worker.spec().database_url;
    let binary = scene.worker.spec().binary.display();
    let worker = format!("DATABASE_URL={database} {binary}");
    let admin = scene.worker.admin_port();
    let payment = format!(
        r#"{{"event_type":"payment.confirmed","payment_id":"p-1","order_id":"{ORDER}","amount":10.10,"currency":"USD","status":"confirmed","timestamp":"2025-01-01T00:00:00Z"}}"#
    );
    let publish = format!(
        "http://127.0.0.1:{}/v1.0/publish/pubsub-redis/payment.confirmed?metadata.cloudevent.id=e-1",
        stack.publisher_daprd.http_port()
    );
    let sidecars = [&stack.daprd, &stack.publisher_daprd, stack.subscriber.daprd()].map(|daprd| daprd.http_port());
    let directories: String = run_dir::made().iter().map(|dir| format!("  {}\n", dir.display())).collect();
    screen.line(format!(
        r#"
Everything runs until Ctrl-C.

The worker:
  curl http://127.0.0.1:{admin}/readyz
  curl http://127.0.0.1:{admin}/metrics
  curl http://127.0.0.1:{admin}/dapr/subscribe
  {worker} cron list
  {worker} queue list
The order API, through its sidecar:
  curl http://127.0.0.1:{}/v1.0/invoke/order-service/method/orders/shirt
The sidecars of order-worker, payment-service, fulfillment:
  curl http://127.0.0.1:{}/v1.0/metadata
  curl http://127.0.0.1:{}/v1.0/metadata
  curl http://127.0.0.1:{}/v1.0/metadata
The database and the broker (the warehouse listens on {}):
  psql {database}
  redis-cli -p {} xlen orders.order.status_changed
One more payment, through the sidecar of payment-service; a second time it is a duplicate:
  curl -i -H 'content-type: application/json' '{publish}' -d '{payment}'
What became of it:
  psql {database} -c "select event_id, outcome, duplicates from order_worker.inbox_status where order_id = '{ORDER}'" \
    -c "select old_status, new_status from order_status_history where order_id = '{ORDER}'" \
    -c "select channel, topic, state, attempts from order_worker.outbox_status where order_id = '{ORDER}'"
Logs:
{directories}"#,
        scene.service.daprd().http_port(),
        sidecars[0],
        sidecars[1],
        sidecars[2],
        stack.warehouse.addr(),
        stack.redis.port(),
    ));
}
