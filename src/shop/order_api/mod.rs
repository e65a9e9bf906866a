//! The API pod's library: what the order service does to its own orders, in its own transactions.
//!
//! ```text
//!          created          (paid)            confirm         ship        deliver
//! (insert) ───────> pending ──────> payment_confirmed ──> confirmed ──> shipped ──> delivered ─┬─ return: requested ─┬─> approved ──> completed
//!                      │  └ cod: deliver, then the job cod_auto_confirm ──^                    │                     └─> rejected
//!                      └──────────────── cancel ────────────────> cancelled                    └─ exchange: requested ──> approved ──> completed
//! ```
//!
//! The worker changes orders when payments and jobs ask for it; people and customers do it through this library. Each method locks the
//! order, checks that the change is legal, and writes history, announcement and warehouse calls in the caller's transaction: all of it
//! is committed with that transaction, or none of it. A *cause* names the request that is being served (an idempotency key). The same
//! cause has its effect once, so that a caller who does not know whether its COMMIT succeeded may ask again. With other arguments it
//! is an error ([`OrderApiError::Conflict`]).
//!
//! Each method calls the SQL function of the same name (migrations/0003_shop.sql), which an API pod in another language calls itself:
//! `select order_worker.ship_order('o-1', 'DHL 4711', 'request-17')`.
//!
//! # An order from its placement to a return
//!
//! ```
//! use order_worker::order_api::{Goods, OrderApi, OrderApiError};
//! # use sqlx::Connection;
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let url = rig::postgres::Postgres::shared().await.database("order_api").await;
//! # order_worker::schema::migrate(&url, None, false).await?;
//! # let mut connection = sqlx::PgConnection::connect(&url).await?;
//!
//! // Placed: the API pod inserts its order as it always did, and says so in the same transaction.
//! let mut tx = connection.begin().await?;
//! sqlx::query("insert into orders (id, order_number, payment_method, currency, total_amount)
//!              values ('o-1', 'N-1', 'CARD', 'USD', 10.10)").execute(&mut *tx).await?;
//! let (item,): (i64,) = sqlx::query_as("insert into order_items (order_id, sku, quantity, reservation_id)
//!              values ('o-1', 'SHIRT', 2, 'r-1') returning id").fetch_one(&mut *tx).await?;
//! OrderApi::new(&mut tx, "checkout-1").created("o-1").await?;
//! tx.commit().await?;
//!
//! // Confirmed by hand, shipped, delivered. Each is one request; here they share a transaction.
//! let mut tx = connection.begin().await?;
//! OrderApi::new(&mut tx, "request-2").confirm("o-1", None).await?;
//! OrderApi::new(&mut tx, "request-3").ship("o-1", Some("DHL 4711")).await?;
//! OrderApi::new(&mut tx, "request-3").ship("o-1", Some("DHL 4711")).await?; // asked again: nothing happens twice
//! OrderApi::new(&mut tx, "request-4").deliver("o-1", None).await?;
//! tx.commit().await?;
//!
//! // One of the two shirts comes back.
//! let mut tx = connection.begin().await?;
//! OrderApi::new(&mut tx, "request-5").request_return("ret-1", "o-1", &[Goods { order_item_id: item.into(), quantity: 1 }], Some("too small")).await?;
//! OrderApi::new(&mut tx, "request-6").approve_return("ret-1").await?;
//! OrderApi::new(&mut tx, "request-7").complete_return("ret-1").await?;
//! tx.commit().await?;
//!
//! // What the machine does not have is refused, and the transaction is void.
//! let mut tx = connection.begin().await?;
//! let refused = OrderApi::new(&mut tx, "request-8").cancel("o-1", "changed my mind").await;
//! assert!(matches!(refused, Err(OrderApiError::Refused(why)) if why == "order o-1 is delivered: it cannot become cancelled"));
//! tx.rollback().await?;
//!
//! let announced: Vec<String> = sqlx::query_scalar("select topic || coalesce(' ' || (body ->> 'new_status'), '')
//!              from order_worker.outbox where channel = 'dapr' order by id").fetch_all(&mut connection).await?;
//! assert_eq!(announced, [
//!     "orders.order.status_changed pending",
//!     "orders.order.status_changed confirmed",
//!     "orders.order.status_changed shipped",
//!     "orders.order.status_changed delivered",
//!     "order.return.requested",
//!     "order.return.approved",
//!     "order.return.completed",
//! ]);
//! # Ok(()) }
//! ```

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use sqlx::types::Json;

pub use crate::shop::announcements::ItemId;

/// Moves of orders within a transaction of the caller, for one cause.
#[derive(Debug)]
pub struct OrderApi<'c> {
    connection: &'c mut PgConnection,
    cause: String,
}

/// Goods of an order that come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Goods {
    /// `order_items.id`.
    pub order_item_id: ItemId,
    /// How many of it, 1 or more.
    pub quantity: i32,
}

/// A move that was not made. The caller's transaction is void: roll it back.
#[derive(Debug, thiserror::Error)]
pub enum OrderApiError {
    /// The order, the return or the exchange does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The machine does not have this move, or not for this order.
    #[error("{0}")]
    Refused(String),
    /// The cause, or the id, stands for something else already.
    #[error("{0}")]
    Conflict(String),
    /// A value cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// The database: try again.
    #[error("the database")]
    Database(#[source] sqlx::Error),
}

impl From<sqlx::Error> for OrderApiError {
    fn from(error: sqlx::Error) -> Self {
        let Some(answer) = error.as_database_error() else { return Self::Database(error) };
        let message = answer.message().to_owned();
        match answer.code().as_deref() {
            Some("23503") => Self::NotFound(message),
            Some("23514") => Self::Refused(message),
            Some("23505") => Self::Conflict(message),
            Some(code) if code.starts_with("22") => Self::Invalid(message),
            _ => Self::Database(error),
        }
    }
}

macro_rules! moves {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) = $sql:literal;)+) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// [`OrderApiError`]: the transaction is void.
            pub async fn $name(&mut self, $($argument: $type),*) -> Result<(), OrderApiError> {
                let statement = sqlx::query($sql)$(.bind($argument))*;
                statement.bind(&self.cause).execute(&mut *self.connection).await?;
                Ok(())
            }
        )+
    };
}

impl<'c> OrderApi<'c> {
    /// For one `cause` of at most 255 bytes, in the transaction of `connection`.
    pub fn new(connection: &'c mut PgConnection, cause: impl Into<String>) -> Self {
        Self { connection, cause: cause.into() }
    }

    moves! {
        /// An order that this transaction has inserted, as `pending`. Payments that came before it are handled at once.
        created(order_id: &str) = "select order_worker.order_created($1, $2)";
        /// A paid order, or a pending one that needs no payment first, is confirmed by hand. What is still reserved becomes a sale.
        confirm(order_id: &str, notes: Option<&str>) = "select order_worker.confirm_order($1, $2, $3)";
        /// A confirmed order was handed to the carrier.
        ship(order_id: &str, notes: Option<&str>) = "select order_worker.ship_order($1, $2, $3)";
        /// A shipped order reached the customer. One that is paid on delivery is still pending: it is marked as delivered, and the
        /// job `cod_auto_confirm` confirms it.
        deliver(order_id: &str, notes: Option<&str>) = "select order_worker.deliver_order($1, $2, $3)";
        /// An order that was not shipped yet is cancelled. Its goods go back to the stock; money that was paid is not for the
        /// worker to give back.
        cancel(order_id: &str, reason: &str) = "select order_worker.cancel_order($1, $2, $3)";
        /// A requested return is accepted.
        approve_return(return_id: &str) = "select order_worker.change_return($1, 'approved', null, $2)";
        /// A requested return is not accepted.
        reject_return(return_id: &str, reason: &str) = "select order_worker.change_return($1, 'rejected', $2, $3)";
        /// The goods of an approved return are here.
        complete_return(return_id: &str) = "select order_worker.change_return($1, 'completed', null, $2)";
        /// A requested exchange is accepted.
        approve_exchange(exchange_id: &str) = "select order_worker.change_exchange($1, 'approved', null, $2)";
        /// The goods of an approved exchange are here, and others on their way.
        complete_exchange(exchange_id: &str) = "select order_worker.change_exchange($1, 'completed', null, $2)";
    }

    /// Goods of a delivered order are to come back: no more than was ordered.
    ///
    /// # Errors
    ///
    /// [`OrderApiError`]: the transaction is void.
    pub async fn request_return(
        &mut self,
        return_id: &str,
        order_id: &str,
        goods: &[Goods],
        reason: Option<&str>,
    ) -> Result<(), OrderApiError> {
        self.request("select order_worker.request_return($1, $2, $3, $4, $5)", return_id, order_id, goods, reason).await
    }

    /// Goods of a delivered order are to be exchanged: no more than was ordered.
    ///
    /// # Errors
    ///
    /// [`OrderApiError`]: the transaction is void.
    pub async fn request_exchange(
        &mut self,
        exchange_id: &str,
        order_id: &str,
        goods: &[Goods],
        reason: Option<&str>,
    ) -> Result<(), OrderApiError> {
        self.request("select order_worker.request_exchange($1, $2, $3, $4, $5)", exchange_id, order_id, goods, reason)
            .await
    }

    async fn request(
        &mut self,
        sql: &'static str,
        id: &str,
        order_id: &str,
        goods: &[Goods],
        reason: Option<&str>,
    ) -> Result<(), OrderApiError> {
        let statement = sqlx::query(sql).bind(id).bind(order_id).bind(Json(goods)).bind(reason);
        statement.bind(&self.cause).execute(&mut *self.connection).await?;
        Ok(())
    }
}
