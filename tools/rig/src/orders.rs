//! The order service's own tables: orders that wait for their payment.

use sqlx::PgPool;

/// Places pending card orders of 10.10 USD with one reserved item each (`res-<order>`), in one transaction.
pub async fn place(pool: &PgPool, orders: &[String]) {
    let reserved = "insert into order_items (order_id, sku, quantity, reservation_id, reserved_at, reservation_status)
                    select id, 'SKU-1', 1, 'res-' || id, now(), 'reserved' from unnest($1::text[]) id";
    insert(pool, orders, &[ORDER, reserved]).await;
}

/// The same without a reservation: nothing is asked of the warehouse.
pub async fn place_unreserved(pool: &PgPool, orders: &[String]) {
    insert(pool, orders, &[ORDER]).await;
}

const ORDER: &str = "insert into orders (id, order_number, user_id, status, payment_method, currency, total_amount)
                     select id, 'N-' || id, 'user-1', 'pending', 'CARD', 'USD', 10.10 from unnest($1::text[]) id";

async fn insert(pool: &PgPool, orders: &[String], statements: &[&'static str]) {
    let mut tx = pool.begin().await.unwrap();
    for statement in statements {
        sqlx::query(*statement).bind(orders).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}
