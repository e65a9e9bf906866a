//! The states of unfinished rows.

use serde::Serialize;

use crate::platform::database::read_by_name;

/// The state of a row of `order_worker.pending`, by its name there.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum State {
    /// To be done now.
    Ready,
    /// To be done when it is due.
    Waiting,
    /// Behind a waiting or dead row of its key.
    Blocked,
    /// An operator decides.
    Held,
    /// Given up, until an operator acts.
    Dead,
    /// Its key is known with another body; an operator decides.
    Quarantined,
}

read_by_name!(State);

impl State {
    /// Its name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
