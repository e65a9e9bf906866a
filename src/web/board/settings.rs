//! `worker.board`: the apalis board.

use serde::Deserialize;

use crate::platform::settings::Key;
use crate::platform::settings::ListenAddr;
use crate::platform::settings::rule::Rule;

/// Where the board is. Who may see it, `worker.console` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// Whether there is one.
    pub enabled: bool,
    /// Where it listens: its pages need the root of a port of their own.
    pub addr: ListenAddr,
}

impl Board {
    /// The keys of this section.
    pub const KEYS: &[Key] =
        &[Key::value("enabled", Rule::Boolean), Key::value("addr", Rule::text::<ListenAddr>(ListenAddr::ALLOWED))];
}
