//! `worker.console`: the pages for operators.

use std::time::Duration;

use super::users::Users;
use crate::platform::settings::rule::{Malformed, optional};
use crate::platform::settings::{ListenAddr, Rule, Secret, section};

section! {
    /// The console: its address, its users, its sessions.
    pub struct Console {
        enabled: bool = Rule::Boolean,
        addr: ListenAddr = Rule::text::<ListenAddr>(ListenAddr::ALLOWED),
        #[serde(deserialize_with = "optional")]
        users: Option<Secret> = Rule::secret(Users::ALLOWED, |text| Users::parse(text).map(drop)),
        user_header: String = Rule::Text { allowed: "the name of a header", check: header, optional: true },
        role_header: String = Rule::Text { allowed: "the name of a header", check: header, optional: true },
        #[serde(with = "humantime_serde")]
        session: Duration = Rule::time(Duration::from_secs(60), Duration::from_secs(7 * 86_400)),
        #[serde(deserialize_with = "optional")]
        session_key: Option<Secret> =
            Rule::secret("at least 32 characters that nobody can guess (openssl rand -base64 32)", session_key),
        secure_cookies: bool = Rule::Boolean,
    }
}

impl Console {
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
