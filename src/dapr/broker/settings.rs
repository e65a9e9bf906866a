//! `data.redis`: the Redis behind the pub/sub component.

use serde::Deserialize;

use crate::platform::settings::rule::{Rule, optional};
use crate::platform::settings::{Key, RemoteAddr, Secret};

/// `data.redis`: the Redis whose status is watched.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// Where it is; `None`: there is none.
    #[serde(deserialize_with = "optional")]
    pub addr: Option<RemoteAddr>,
    /// Whether the connection is encrypted and the server's certificate checked.
    pub tls: bool,
    /// Certificates (PEM) of the CAs that may have signed the server's; empty: those of the public web.
    pub ca_file: String,
    /// The number of its database.
    pub db: u16,
    /// Its user (ACL); empty: the default one.
    pub username: String,
    /// Its password; `None`: it asks for none.
    #[serde(deserialize_with = "optional")]
    pub password: Option<Secret>,
}

impl Redis {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[
        Key::value("addr", Rule::optional_text::<RemoteAddr>(RemoteAddr::ALLOWED)),
        Key::value("tls", Rule::Boolean),
        Key::value("ca_file", Rule::path()),
        Key::value("db", Rule::integer(0, 65_535)),
        Key::value("username", Rule::Text { allowed: "any text", check: |_| Ok(()), optional: true }),
        Key::value("password", Rule::password()),
    ];
}
