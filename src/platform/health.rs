//! The condition of a part.

use crate::platform::telemetry::chain;

/// The condition of a part, as it was seen last.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Condition {
    /// Whether it can be worked with.
    pub ok: bool,
    /// The detail for people; without secrets.
    pub detail: String,
}

impl Condition {
    /// It can be worked with.
    #[must_use]
    pub fn good(detail: impl Into<String>) -> Self {
        Self { ok: true, detail: detail.into() }
    }

    /// It cannot be worked with, because of `detail`.
    #[must_use]
    pub fn bad(detail: impl Into<String>) -> Self {
        Self { ok: false, detail: detail.into() }
    }
}

/// The detail, or the error with its causes.
impl<E: std::error::Error> From<Result<String, E>> for Condition {
    fn from(seen: Result<String, E>) -> Self {
        match seen {
            Ok(detail) => Self::good(detail),
            Err(error) => Self::bad(chain(&error).to_string()),
        }
    }
}
