//! Where Postgres is and as whom to go there: shown without its password.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};
use sqlx::postgres::PgConnectOptions;
use url::Url;

use super::rule::{Malformed, Rule};
use super::secret::MASK;

/// A Postgres URL. `Debug`, `Display` and serialization show it with its password masked.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct DatabaseUrl {
    text: String,
    shown: String,
}

impl DatabaseUrl {
    /// The form of a [`DatabaseUrl`], for refusals.
    pub const ALLOWED: &str = "postgres://user:password@host:5432/database";

    /// The rule of a key that holds one.
    pub const RULE: Rule =
        Rule::Secret { allowed: Self::ALLOWED, check: |text| Self::try_from(text.to_owned()).map(drop), mask: masked };

    /// The URL with its password, for the one call that connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The options by which sqlx connects; session settings may be added.
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
        // As files of secrets end.
        let text = text.trim_end_matches(['\r', '\n']).to_owned();
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(Malformed(match text.split_once("://") {
                Some((scheme, _)) if scheme.contains("postgres") => {
                    "it does not begin with postgres://: leave out what names a driver".to_owned()
                }
                None if text.contains("host=") || text.contains("dbname=") => {
                    "it does not begin with postgres://: words of the form name=value are not read, a URL says the same"
                        .to_owned()
                }
                _ => "it does not begin with postgres://".to_owned(),
            }));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Malformed("it contains white space".to_owned()));
        }
        if names_several_hosts(&text) {
            return Err(Malformed(SEVERAL.to_owned()));
        }
        let url = Url::parse(&text).map_err(|_| encode())?;
        // A password with a bare / ? or # parses, into the wrong parts: an @ then stands behind them.
        let behind = [Some(url.path()), url.query(), url.fragment()];
        if url.fragment().is_some() || behind.into_iter().flatten().any(|part| part.contains('@')) {
            return Err(encode());
        }
        let connected = without_what_decides_nothing(&url)?;
        let options = PgConnectOptions::from_str(&connected)
            .map_err(|_| Malformed("a parameter behind its ? is not valid".to_owned()))?;
        if options.get_database().is_none() {
            return Err(Malformed("the name of the database is missing".to_owned()));
        }
        Ok(Self { shown: shown(url), text: connected })
    }
}

/// Why a list of hosts is refused, and what does the same.
const SEVERAL: &str =
    "it names several hosts: name one that leads to the primary (a service, a proxy, the -rw service of an operator)";

/// Whether more than one host stands between the password and the database. An @ in the password would have to be encoded.
fn names_several_hosts(text: &str) -> bool {
    let behind_scheme = text.split_once("://").map_or("", |(_, rest)| rest);
    let authority = behind_scheme.split(['/', '?']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default().contains(',')
}

/// The URL with those parameters alone that sqlx knows; of others it would say no more than a line of the log, with their values.
///
/// Refuses, by its name, what asks for something that is not done.
fn without_what_decides_nothing(url: &Url) -> Result<String, Malformed> {
    let mut kept: Vec<(String, String)> = Vec::new();
    for (name, value) in url.query_pairs() {
        match (&*name, &*value) {
            ("host" | "hostaddr" | "port", value) if value.contains(',') => return Err(Malformed(SEVERAL.to_owned())),
            (
                "sslmode" | "ssl-mode" | "sslrootcert" | "ssl-root-cert" | "ssl-ca" | "sslcert" | "ssl-cert" | "sslkey"
                | "ssl-key" | "host" | "hostaddr" | "port" | "dbname" | "user" | "password" | "application_name"
                | "options",
                _,
            ) => kept.push((name.into_owned(), value.into_owned())),
            (name, _) if name.starts_with("options[") => kept.push((name.to_owned(), value.into_owned())),
            // What is done anyway, or is worker.database's, or another library's.
            ("target_session_attrs", "read-write" | "primary" | "any")
            | ("channel_binding", "prefer" | "disable")
            | ("gssencmode", "prefer" | "disable")
            | ("load_balance_hosts", "disable")
            | ("sslnegotiation", "postgres")
            | ("client_encoding", "utf8" | "UTF8" | "utf-8" | "UTF-8" | "auto")
            | (
                "connect_timeout"
                | "keepalives"
                | "keepalives_idle"
                | "keepalives_interval"
                | "keepalives_count"
                | "tcp_user_timeout"
                | "fallback_application_name"
                | "sslcompression"
                | "sslsni"
                | "statement-cache-capacity"
                | "pgbouncer"
                | "connection_limit"
                | "pool_timeout"
                | "pool_max_conns"
                | "schema",
                _,
            ) => {}
            ("target_session_attrs", _) => {
                return Err(Malformed(
                    "target_session_attrs asks for a server that cannot be written: the worker writes".to_owned(),
                ));
            }
            ("service" | "servicefile", _) => {
                return Err(Malformed("service files are not read: name host, port, user and database".to_owned()));
            }
            ("channel_binding", _) => {
                return Err(Malformed(
                    "channel_binding=require is not done: leave it out, sslmode=verify-full checks the server"
                        .to_owned(),
                ));
            }
            // By name only what is one for sure: a password that is not encoded may stand here.
            (
                name @ ("gssencmode"
                | "load_balance_hosts"
                | "client_encoding"
                | "sslnegotiation"
                | "sslpassword"
                | "sslcrl"
                | "sslcrldir"
                | "sslcertmode"
                | "ssl_min_protocol_version"
                | "ssl_max_protocol_version"
                | "require_auth"
                | "requirepeer"
                | "krbsrvname"
                | "gsslib"
                | "gssdelegation"
                | "passfile"
                | "replication"
                | "sslaccept"
                | "sslidentity"
                | "currentSchema"),
                _,
            ) => {
                return Err(Malformed(format!(
                    "its parameter {name}, or the value of it, is not known here: leave it out"
                )));
            }
            _ => return Err(Malformed("a parameter behind its ? is not known".to_owned())),
        }
    }
    let mut url = url.clone();
    url.set_query(None);
    if !kept.is_empty() {
        url.query_pairs_mut().extend_pairs(kept);
    }
    Ok(url.to_string())
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
pub(crate) fn masked(text: &str) -> String {
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
    fn what_the_ecosystem_writes_is_taken_where_it_asks_for_what_is_done() {
        for (given, connects) in [
            ("postgres://w@db/orders\n", "postgres://w@db/orders"),
            ("postgres://w@db/orders\r\n", "postgres://w@db/orders"),
            ("postgres://w@db/orders?target_session_attrs=read-write", "postgres://w@db/orders"),
            (
                "postgres://w@db/orders?target_session_attrs=any&sslmode=require",
                "postgres://w@db/orders?sslmode=require",
            ),
            ("postgres://w@db/orders?pgbouncer=true&connection_limit=1&schema=public", "postgres://w@db/orders"),
            ("postgres://w@db/orders?connect_timeout=10&keepalives=1", "postgres://w@db/orders"),
            ("postgres://w@%2Fvar%2Frun%2Fpostgresql/orders", "postgres://w@%2Fvar%2Frun%2Fpostgresql/orders"),
            ("postgres:///orders?host=/tmp&port=5433&user=w", "postgres:///orders?host=%2Ftmp&port=5433&user=w"),
            ("postgres://w@db/orders?options=endpoint%3Dx", "postgres://w@db/orders?options=endpoint%3Dx"),
        ] {
            assert_eq!(read(given).unwrap().expose(), connects, "{given}");
        }
        let socket = read("postgres://w@%2Fvar%2Frun%2Fpostgresql/orders").unwrap().connect_options().unwrap();
        assert_eq!(socket.get_socket().unwrap(), &std::path::PathBuf::from("/var/run/postgresql"));
    }

    #[test]
    fn what_is_not_done_is_refused_with_its_reason() {
        for (given, reason) in [
            ("postgres://w:x@a:5432,b:5432/orders", "several hosts"),
            ("postgres://w@a,b/orders?target_session_attrs=read-write", "several hosts"),
            ("postgres:///orders?host=a,b&user=w", "several hosts"),
            ("postgres://w@db/orders?target_session_attrs=standby", "the worker writes"),
            ("postgres:///orders?service=shop", "service files"),
            ("postgres://?service=shop", "service files"),
            ("postgres://w@db/orders?channel_binding=require", "channel_binding"),
            ("postgres://w@db/orders?sslcrl=/x", "its parameter sslcrl"),
            ("postgresql+asyncpg://w@db/orders", "leave out what names a driver"),
            ("jdbc:postgresql://db/orders", "leave out what names a driver"),
            ("host=db dbname=orders", "name=value"),
        ] {
            let why = read(given).unwrap_err().to_string();
            assert!(why.contains(reason), "{given}: {why}");
        }
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
            "postgres://w:hunter2@db/orders\nx",
            "jdbc:postgresql://db/orders?user=w&password=hunter2",
            "postgres://w:hunter2@db1,db2/orders",
            "postgres://w@db/orders?sslpassword=hunter2",
            "postgres://w@db/orders?hunter2",
        ];
        for text in bad {
            let why = read(text).unwrap_err().to_string();
            assert!(!why.contains("hunter2"), "{why}");
            assert_eq!(masked(text), MASK);
        }
    }
}
