//! `worker.board`: the apalis board.

use crate::platform::settings::{ListenAddr, Rule, section};

section! {
    /// Where the board is. Who may see it, `worker.console` says.
    pub struct Board {
        enabled: bool = Rule::Boolean,
        addr: ListenAddr = Rule::text::<ListenAddr>(ListenAddr::ALLOWED),
    }
}
