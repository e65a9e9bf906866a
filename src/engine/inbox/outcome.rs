//! How events end.

/// How an event of the inbox ended, or where it waits, by its name in the database and in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// It had its effect.
    Applied,
    /// It was there before.
    Duplicate,
    /// Another event of the same fact came first.
    Superseded,
    /// It asks for what cannot be.
    Rejected,
    /// An operator decides.
    Held,
    /// It cannot be handled.
    Dead,
    /// Its id is known with another body.
    Quarantined,
}

impl Outcome {
    /// Its name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why an event could not be handled, as metrics count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Failure {
    /// Its body is no event of its topic.
    Undecodable,
    /// Its id is known with another body.
    Quarantined,
    /// Nobody handles its topic.
    UnknownTopic,
    /// Applying it failed; it is kept and tried again, or dead.
    ApplyFailed,
}
