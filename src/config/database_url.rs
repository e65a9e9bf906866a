//! Where Postgres is and as whom to go there: shown without its password.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};
use sqlx::postgres::PgConnectOptions;
use url::Url;

use super::rule::Malformed;
use super::secret::MASK;

/// A Postgres URL. `Debug`, `Display` and serialization show it with its password masked.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct DatabaseUrl {
    text: String,
    shown: String,
}

impl DatabaseUrl {
    /// What [`DatabaseUrl`] accepts, for refusals.
    pub const ALLOWED: &str = "postgres://user:password@host:5432/database";

    /// The URL with its password, for the one call that connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What sqlx connects by; session settings may be added to it.
    ///
    /// # Errors
    /// Never for a value of this type: it was read once already.
    pub fn connect_options(&self) -> Result<PgConnectOptions, sqlx::Error> {
        PgConnectOptions::from_str(&self.text)
    }
}

impl TryFrom<String> for DatabaseUrl {
    type Error = Malformed;

    /// No refusal contains any part of the text: where the password ends is then unknown.
    fn try_from(text: String) -> Result<Self, Malformed> {
        let encode = || {
            Malformed(
                "special characters in the password must be percent-encoded (@ %40, / %2F, : %3A, \
                 # %23, ? %3F)"
                    .to_owned(),
            )
        };
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(Malformed("it does not begin with postgres://".to_owned()));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Malformed("it contains white space".to_owned()));
        }
        let url = Url::parse(&text).map_err(|_| encode())?;
        // A password with a bare / ? or # parses, into the wrong parts: an @ then stands behind them.
        let behind = [Some(url.path()), url.query(), url.fragment()];
        if url.fragment().is_some() || behind.into_iter().flatten().any(|part| part.contains('@')) {
            return Err(encode());
        }
        let options = PgConnectOptions::from_str(&text)
            .map_err(|_| Malformed("a parameter behind its ? is not valid".to_owned()))?;
        if options.get_database().is_none() {
            return Err(Malformed("the name of the database is missing".to_owned()));
        }
        Ok(Self { shown: shown(url), text })
    }
}

/// The URL with the password masked, wherever it stands.
fn shown(mut url: Url) -> String {
    if url.password().is_some() {
        // Fails only for a URL without a host, which has no password.
        let _ = url.set_password(Some(MASK));
    }
    if url.query().is_some() {
        let pairs: Vec<(String, String)> = url.query_pairs().map(mask_pair).collect();
        url.query_pairs_mut().clear().extend_pairs(pairs);
    }
    url.to_string()
}

fn mask_pair((name, value): (Cow<'_, str>, Cow<'_, str>)) -> (String, String) {
    let secret = name.to_ascii_lowercase().contains("pass");
    (name.into_owned(), if secret { MASK.to_owned() } else { value.into_owned() })
}

/// The form of a URL that may be shown; all of it masked when it is not one.
pub(super) fn masked(text: &str) -> String {
    DatabaseUrl::try_from(text.to_owned()).map_or_else(|_| MASK.to_owned(), |url| url.shown)
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DatabaseUrl, Malformed> {
        text.to_owned().try_into()
    }

    #[test]
    fn only_the_password_is_masked() {
        let cases = [
            ("postgres://w:hunter2@db:5432/orders", "postgres://w:***@db:5432/orders"),
            ("postgresql://w@db/orders", "postgresql://w@db/orders"),
            (
                "postgres://w@db/orders?sslmode=require&password=hunter2",
                "postgres://w@db/orders?sslmode=require&password=***",
            ),
            ("postgres://w:a%40b@db/orders", "postgres://w:***@db/orders"),
            ("postgres://w:hunter2@[::1]:5432/orders", "postgres://w:***@[::1]:5432/orders"),
        ];
        for (given, shown) in cases {
            let url = read(given).unwrap();
            assert_eq!(format!("{url} {url:?}"), format!("{shown} {shown}"));
            assert_eq!(serde_json::to_value(&url).unwrap(), shown);
            assert_eq!(url.expose(), given);
            assert!(url.connect_options().is_ok());
        }
    }

    #[test]
    fn a_socket_directory_is_a_host() {
        assert!(read("postgres:///orders?host=/var/run/postgresql&user=w").is_ok());
    }

    #[test]
    fn what_is_refused_never_shows_the_password() {
        let bad = [
            "",
            "host=db password=hunter2",
            "mysql://w:hunter2@db/orders",
            "postgres://w:hunter2@db:99999/orders",
            "postgres://w:hunter2#x@db/orders",
            "postgres://w:hunter2/x@db/orders",
            "postgres://w:123/hunter2@db/orders",
            "postgres://w:123?hunter2@db/orders",
            "postgres://w:123#hunter2@db/orders",
            "postgres://w:hunter2@db/orders?sslmode=maybe",
            "postgres://w:hunter2@db",
            "postgres://w:hunter2@db/orders\n",
        ];
        for text in bad {
            let why = read(text).unwrap_err().to_string();
            assert!(!why.contains("hunter2"), "{why}");
            assert_eq!(masked(text), MASK);
        }
    }
}
