//! The decisions that operators make about single rows.

/// A person's decision about an event or a message: `order_worker.decisions.verb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Verb {
    /// A held event is applied.
    Approve,
    /// A quarantined event is an event of its own.
    Accept,
    /// An event that waited changes nothing.
    Reject,
    /// A quarantined event changes nothing.
    Drop,
    /// An event changes nothing, a message is not sent (`sql/skip.sql`).
    Skip,
    /// The row has another body (`order_worker.edit_row`).
    Edit,
}

impl Verb {
    /// Its name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
