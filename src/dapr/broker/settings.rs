//! `data.redis`: the Redis behind the pub/sub component.

use crate::platform::settings::rule::optional;
use crate::platform::settings::{RemoteAddr, Rule, Secret, section};

section! {
    /// `data.redis`: the Redis whose status is watched.
    pub struct Redis {
        #[serde(deserialize_with = "optional")]
        addr: Option<RemoteAddr> = Rule::optional_text::<RemoteAddr>(RemoteAddr::ALLOWED),
        tls: bool = Rule::Boolean,
        ca_file: String = Rule::path(),
        db: u16 = Rule::integer(0, 65_535),
        username: String = Rule::any_text(),
        #[serde(deserialize_with = "optional")]
        password: Option<Secret> = Rule::password(),
    }
}
