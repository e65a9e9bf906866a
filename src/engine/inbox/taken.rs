//! An event of the inbox, taken to be applied.

use sqlx::types::chrono::{DateTime, NaiveDate, Utc};
use tracing::Span;

/// An event in the hands of a transaction.
#[derive(Debug, sqlx::FromRow)]
pub struct Taken {
    /// `inbox.id`.
    pub id: i64,
    /// Counted failures so far.
    pub attempts: i32,
    /// An operator said: whatever speaks against it.
    pub approved: bool,
    /// The day of its body.
    pub day: NaiveDate,
    /// Seconds since it was accepted.
    pub age: f64,
    /// Its topic.
    pub topic: String,
    /// CloudEvent `id`.
    pub event_id: String,
    /// Its subject, as far as it is legible.
    pub subject: Option<String>,
    /// Its data.
    pub body: Vec<u8>,
    /// Its key in hexadecimal: the cause of what it brings about.
    pub cause: String,
    /// W3C trace context; from here on of the step that handles it.
    pub traceparent: Option<String>,
    /// When it reached a worker.
    pub received_at: DateTime<Utc>,
    /// The step that handles it.
    #[sqlx(skip)]
    pub span: Handling,
}

/// The span of an event in hand; none before it is begun.
#[derive(Debug)]
pub struct Handling(pub Span);

impl Default for Handling {
    fn default() -> Self {
        Self(Span::none())
    }
}
