//! What is measured with: orders that wait for their payment, and the payments.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use rig::payment::{confirmed, json};
use sqlx::PgPool;

/// What applying a payment writes besides the order's change, its history and its announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reservations {
    /// Nothing.
    None,
    /// A call of the warehouse, which confirms the reservation.
    One,
}

/// Places pending card orders.
pub async fn place(database_url: &str, orders: &[String], reservations: Reservations) {
    let pool = PgPool::connect(database_url).await.unwrap();
    match reservations {
        Reservations::None => rig::orders::place_unreserved(&pool, orders).await,
        Reservations::One => rig::orders::place(&pool, orders).await,
    }
    sqlx::query("analyze orders, order_items").execute(&pool).await.unwrap();
    pool.close().await;
}

/// Names of orders, `<prefix>-<n>`.
pub fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}-{n}")).collect()
}

/// The confirmed payment of an order.
pub fn payment(order: &str) -> Vec<u8> {
    json(&confirmed(&format!("pay-{order}"), order, "10.10"))
}

/// When something happened to each order, first.
#[derive(Debug, Default)]
pub struct Moments(HashMap<String, SystemTime>);

impl Moments {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn note(&mut self, order: String, at: SystemTime) {
        self.0.entry(order).or_insert(at);
    }

    /// The time from each moment to the same order's in `later`, sorted.
    pub fn until(&self, later: &Moments) -> Vec<Duration> {
        let mut times: Vec<_> =
            self.0.iter().map(|(order, at)| later.0[order].duration_since(*at).unwrap_or_default()).collect();
        times.sort_unstable();
        times
    }

    /// From the first moment here to the last in `later`.
    pub fn span(&self, later: &Moments) -> Duration {
        let first = self.0.values().min().unwrap();
        later.0.values().max().unwrap().duration_since(*first).unwrap()
    }
}
