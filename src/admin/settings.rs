//! `worker.admin`: the admin listener.

use serde::Deserialize;

use crate::config::ListenAddr;
use crate::config::rule::Rule;
use crate::config::schema::Key;

/// Where it listens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Where it listens.
    pub addr: ListenAddr,
}

impl Admin {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[Key::value("addr", Rule::text::<ListenAddr>(ListenAddr::ALLOWED))];
}
