//! `worker.admin`: the admin listener.

use serde::Deserialize;

use crate::platform::settings::Key;
use crate::platform::settings::ListenAddr;
use crate::platform::settings::rule::Rule;

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
