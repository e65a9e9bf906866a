//! The order service's own tables: orders that wait for their payment.

use sqlx::PgPool;

/// Places pending card orders of 10.10 USD with one reserved item each (`res-<order>`), in one transaction.
pub async fn place(pool: &PgPool, orders: &[String]) {
    let mut tx = pool.begin().await.unwrap();
    for statement in [
        "insert into orders (id, order_number, user_id, status, payment_method, currency, total_amount)
         select id, 'N-' || id, 'user-1', 'pending', 'CARD', 'USD', 10.10 from unnest($1::text[]) id",
        "insert into order_items (order_id, sku, quantity, reservation_id, reserved_at, reservation_status)
         select id, 'SKU-1', 1, 'res-' || id, now(), 'reserved' from unnest($1::text[]) id",
    ] {
        sqlx::query(statement).bind(orders).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}
