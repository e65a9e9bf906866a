//! `worker.admin`: the admin listener.

use crate::platform::settings::{ListenAddr, Rule, section};

section! {
    /// Where it listens.
    pub struct Admin {
        addr: ListenAddr = Rule::text::<ListenAddr>(ListenAddr::ALLOWED),
    }
}
