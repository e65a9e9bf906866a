//! The publisher: announcements in the caller's transaction.

use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;

use super::events::{ExchangeEvent, ReturnEvent, StatusChangedEvent};

/// Where changes of an order's status are announced.
pub const STATUS_CHANGED_TOPIC: &str = "orders.order.status_changed";

/// Announces within a transaction of the caller: what it says is published if, and only if, that transaction commits.
///
/// `cause` names the one thing that makes the announcements happen (a request id, a return id): the same cause announces the
/// same thing once, however often it is tried, under one CloudEvent id.
///
/// ```no_run
/// # async fn example(pool: sqlx::PgPool, event: order_worker::announcements::ReturnEvent) -> Result<(), Box<dyn std::error::Error>> {
/// use order_worker::announcements::Publisher;
///
/// let mut transaction = pool.begin().await?;
/// // ... the caller's own changes ...
/// Publisher::new(&mut transaction, "return-4711").publish_return_requested(&event).await?;
/// transaction.commit().await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Publisher<'c> {
    connection: &'c mut PgConnection,
    cause: String,
}

/// An announcement that was not written. The caller's transaction is void: roll it back.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The event has no `order_id`.
    #[error("the event for `{0}` has no order_id: an announcement belongs to an order")]
    NoOrder(String),
    /// The event is no JSON object.
    #[error("the event cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The database refused it: no such order, or the cause announced something else before.
    #[error("the announcement was not stored")]
    Database(#[from] sqlx::Error),
}

macro_rules! announcements {
    ($($(#[$doc:meta])* $name:ident($event:ty) => $topic:literal, $event_type:literal;)+) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// [`PublishError`]: the transaction is void.
            pub async fn $name(&mut self, event: &$event) -> Result<String, PublishError> {
                self.typed($topic, $event_type, event).await
            }
        )+
    };
}

impl<'c> Publisher<'c> {
    /// A publisher in the transaction of `connection`, for one `cause` of at most 255 bytes.
    pub fn new(connection: &'c mut PgConnection, cause: impl Into<String>) -> Self {
        Self { connection, cause: cause.into() }
    }

    /// Announces any event on any topic: a JSON object with an `order_id`. Returns the CloudEvent id.
    ///
    /// # Errors
    ///
    /// [`PublishError`]: the transaction is void.
    pub async fn publish(&mut self, topic: &str, event: &impl Serialize) -> Result<String, PublishError> {
        let body = serde_json::to_value(event)?;
        self.announce(topic, body).await
    }

    announcements! {
        /// `orders.order.status_changed`. For a change that somebody else has made: `order_worker.change_order()` changes and
        /// announces in one.
        publish_order_status_changed(StatusChangedEvent) => "orders.order.status_changed", "order.status_changed";
        /// `order.return.requested`.
        publish_return_requested(ReturnEvent) => "order.return.requested", "order.return.requested";
        /// `order.return.approved`.
        publish_return_approved(ReturnEvent) => "order.return.approved", "order.return.approved";
        /// `order.return.rejected`.
        publish_return_rejected(ReturnEvent) => "order.return.rejected", "order.return.rejected";
        /// `order.return.completed`.
        publish_return_completed(ReturnEvent) => "order.return.completed", "order.return.completed";
        /// `order.exchange.requested`.
        publish_exchange_requested(ExchangeEvent) => "order.exchange.requested", "order.exchange.requested";
        /// `order.exchange.approved`.
        publish_exchange_approved(ExchangeEvent) => "order.exchange.approved", "order.exchange.approved";
        /// `order.exchange.completed`.
        publish_exchange_completed(ExchangeEvent) => "order.exchange.completed", "order.exchange.completed";
    }

    async fn typed(&mut self, topic: &str, event_type: &str, event: &impl Serialize) -> Result<String, PublishError> {
        let mut body = serde_json::to_value(event)?;
        body["event_type"] = event_type.into();
        self.announce(topic, body).await
    }

    async fn announce(&mut self, topic: &str, body: Value) -> Result<String, PublishError> {
        let order_id = body.get("order_id").and_then(Value::as_str).map(str::to_owned);
        let order_id = order_id.ok_or_else(|| PublishError::NoOrder(topic.to_owned()))?;
        let (id,): (String,) = sqlx::query_as("select order_worker.announce($1, $2, $3, $4)::text")
            .bind(topic)
            .bind(order_id)
            .bind(body)
            .bind(&self.cause)
            .fetch_one(&mut *self.connection)
            .await?;
        Ok(id)
    }
}
