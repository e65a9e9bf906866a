//! What was seen of a part.

/// What the last look at a part saw.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Condition {
    /// Whether it can be worked with.
    pub ok: bool,
    /// What was seen, in words; without secrets.
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

/// A look that says what it saw, or what went wrong.
impl From<Result<String, String>> for Condition {
    fn from(seen: Result<String, String>) -> Self {
        match seen {
            Ok(detail) => Self::good(detail),
            Err(detail) => Self::bad(detail),
        }
    }
}
