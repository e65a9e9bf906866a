//! `worker.console`: the pages for operators.

use std::time::Duration;

use serde::Deserialize;

use super::users::Users;
use crate::platform::settings::Key;
use crate::platform::settings::rule::{Malformed, Rule, optional};
use crate::platform::settings::{ListenAddr, Secret};

/// The console: its address, its users, its sessions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Console {
    /// Whether there is one.
    pub enabled: bool,
    /// Where it listens; without users and without a proxy only on loopback.
    pub addr: ListenAddr,
    /// `name:role:hash`, separated by spaces; none: nobody logs in, and nothing can be changed.
    #[serde(deserialize_with = "optional")]
    pub users: Option<Secret>,
    /// The header in which a trusted proxy names the user; empty: there is none.
    pub user_header: String,
    /// The header in which it names the role; viewer where it does not.
    pub role_header: String,
    /// The time after which a login ends.
    #[serde(with = "humantime_serde")]
    pub session: Duration,
    /// The key that signs sessions on every replica; none: a key of the process.
    #[serde(deserialize_with = "optional")]
    pub session_key: Option<Secret>,
    /// Whether browsers send the cookies by TLS alone, whatever a proxy says.
    pub secure_cookies: bool,
}

impl Console {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[
        Key::value("enabled", Rule::YesNo),
        Key::value("addr", Rule::text::<ListenAddr>(ListenAddr::ALLOWED)),
        Key::value(
            "users",
            Rule::Secret {
                allowed: Users::ALLOWED,
                check: |text| Users::parse(text).map(drop),
                mask: |_| "***".to_owned(),
            },
        ),
        Key::value("user_header", Rule::Text { allowed: "the name of a header", check: header, optional: true }),
        Key::value("role_header", Rule::Text { allowed: "the name of a header", check: header, optional: true }),
        Key::value("session", Rule::time(Duration::from_secs(60), Duration::from_secs(7 * 86_400))),
        Key::value(
            "session_key",
            Rule::Secret {
                allowed: "at least 32 characters that nobody can guess (openssl rand -base64 32)",
                check: session_key,
                mask: |_| "***".to_owned(),
            },
        ),
        Key::value("secure_cookies", Rule::YesNo),
    ];

    /// Whether somebody beyond this machine may be let in: there is a way to tell who it is.
    #[must_use]
    pub fn knows_its_users(&self) -> bool {
        self.users.is_some() || !self.user_header.is_empty()
    }
}

fn header(text: &str) -> Result<(), Malformed> {
    text.parse::<axum::http::HeaderName>().map(drop).map_err(|_| Malformed("no header may be called so".into()))
}

fn session_key(text: &str) -> Result<(), Malformed> {
    if text.trim().len() < 32 {
        return Err(Malformed("shorter than 32 characters".into()));
    }
    Ok(())
}
