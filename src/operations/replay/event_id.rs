//! The id of an announcement, as `order_worker.event_id` in the database has it.

use sha2::{Digest, Sha256};

/// 128 bits of a sha256 over the parts with their lengths, written as a UUID.
#[must_use]
pub fn event_id(cause: &str, channel: &str, topic: &str, order_id: &str, variant: &str) -> String {
    let mut hash = Sha256::new();
    for part in ["order-worker/v1", cause, channel, topic, order_id, variant] {
        hash.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let hex = hex::encode(&hash.finalize()[..16]);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
