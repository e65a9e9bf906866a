//! Settings of a queue.

use crate::platform::settings::{Rule, section};

section! {
    /// How one use of the queue is drained.
    pub struct Drain {
        batch: u32 = Rule::integer(1, 10_000),
        concurrency: usize = Rule::integer(1, 256),
        max_attempts: u16 = Rule::integer(1, 1_000),
    }
}
