//! The database: sessions that cannot become zombies, the schema, and what an error of it means.

mod adopt;
mod error;
mod migrate;
mod migrations;
mod partitions;
mod schema;
pub mod settings;
mod traced;

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, PgPool};

pub use error::MigrateError;
pub use migrate::{Report, migrate};
pub use partitions::maintain;
pub use schema::{SchemaState, schema_state, schema_state_directly};
pub use traced::traced;

use crate::telemetry::chain;
use crate::tls;
use settings::Database;

/// SQLSTATE insufficient_privilege.
const LACKS_RIGHTS: &str = "42501";

/// Whose fault a database error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The environment's: it will go away, nothing is counted.
    Environment,
    /// The statement's or its values': it will come again.
    Message,
}

/// Classes by SQLSTATE: 08 connection, 40 rollback (deadlock, serialization), 53 resources, 55 not in the right state (lock_timeout),
/// 57 operator intervention (shutdown, statement_timeout), 25 a transaction that was ended (idle_in_transaction_session_timeout),
/// 28 and 42501 rights. Everything that is no answer of the server is the environment's, but for values that do not decode.
#[must_use]
pub fn class(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            let environment = ["08", "25", "28", "40", "53", "55", "57", "58"];
            if code == LACKS_RIGHTS || environment.iter().any(|class| code.starts_with(class)) {
                Class::Environment
            } else {
                Class::Message
            }
        }
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::Encode(_)
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::RowNotFound => Class::Message,
        _ => Class::Environment,
    }
}

/// Whether the role may not do what it was asked to.
#[must_use]
pub fn lacks_rights(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some(LACKS_RIGHTS))
}

/// What to do about an error of the TLS connection; none for other errors.
#[must_use]
pub fn tls_way_out(error: &sqlx::Error) -> Option<String> {
    tls::way_out(&chain(error).to_string(), "sslrootcert of the database URL")
}

/// How to connect.
///
/// # Errors
///
/// When the URL is none, or names a file of certificates that cannot be read.
pub fn options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    certificates_are_there(url)?;
    let options = PgConnectOptions::from_str(url)?.application_name("order-worker");
    Ok(options.log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(1)))
}

/// sqlx reads the files for each new connection; one that is missing would show only as "no such file", without its name.
fn certificates_are_there(url: &str) -> Result<(), sqlx::Error> {
    let Ok(url) = url::Url::parse(url) else { return Ok(()) };
    for (name, path) in url.query_pairs() {
        if matches!(&*name, "sslrootcert" | "sslcert" | "sslkey") {
            std::fs::File::open(&*path).map_err(|error| {
                sqlx::Error::Configuration(format!("{name}={path} in the database URL: {error}").into())
            })?;
        }
    }
    Ok(())
}

/// A pool for a command of an operator: what it asks differs from one time to the next, so each statement is planned as it is, and
/// one that goes through a long history may take its time.
///
/// # Errors
///
/// When the URL is none.
pub fn connect_for_a_command(url: &str, settings: &Database) -> Result<PgPool, sqlx::Error> {
    let options = options(url)?.statement_cache_capacity(settings.statement_cache).options([
        ("statement_timeout", "30min"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "60s"),
        ("plan_cache_mode", "force_custom_plan"),
        ("jit", "off"),
    ]);
    Ok(PgPoolOptions::new().max_connections(2).acquire_timeout(settings.acquire_timeout).connect_lazy_with(options))
}

/// Connections of the console and the board together.
const PAGES: u32 = 4;
/// The longest that a page is worth waiting for.
const PAGE: Duration = Duration::from_secs(10);

/// A pool for the pages of the console: few connections and short statements of their own, so that whoever looks, however often
/// and at whatever, takes none from the events. What pages ask differs, so each statement is planned as it is.
///
/// # Errors
///
/// When the URL is none.
pub fn connect_for_pages(url: &str, settings: &Database) -> Result<PgPool, sqlx::Error> {
    Ok(PgPoolOptions::new()
        .max_connections(PAGES)
        .acquire_timeout(settings.acquire_timeout)
        .max_lifetime(Duration::from_secs(30 * 60))
        .connect_lazy_with(pages_options(url, settings)?))
}

/// How [`connect_for_pages`] connects.
///
/// # Errors
///
/// When the URL is none.
pub fn pages_options(url: &str, settings: &Database) -> Result<PgConnectOptions, sqlx::Error> {
    let millis = |time: Duration| format!("{}ms", time.as_millis());
    let options = options(url)?
        .application_name("order-worker console")
        .statement_cache_capacity(settings.statement_cache)
        .options([
            ("statement_timeout", millis(settings.statement_timeout.min(PAGE))),
            ("lock_timeout", millis(settings.lock_timeout)),
            ("idle_in_transaction_session_timeout", millis(settings.idle_in_transaction_timeout)),
            ("plan_cache_mode", "force_custom_plan".to_owned()),
            ("jit", "off".to_owned()),
        ]);
    Ok(options)
}

/// A pool that connects when it is needed, and never to a session without limits.
///
/// # Errors
///
/// When the URL is none.
pub fn connect(url: &str, settings: &Database) -> Result<PgPool, sqlx::Error> {
    Ok(PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(settings.acquire_timeout)
        .max_lifetime(Duration::from_secs(30 * 60))
        .connect_lazy_with(worker_options(url, settings)?))
}

/// How [`connect`] connects.
///
/// # Errors
///
/// When the URL is none.
pub fn worker_options(url: &str, settings: &Database) -> Result<PgConnectOptions, sqlx::Error> {
    let millis = |time: Duration| format!("{}ms", time.as_millis());
    let options = options(url)?.statement_cache_capacity(settings.statement_cache).options([
        ("statement_timeout", millis(settings.statement_timeout)),
        ("lock_timeout", millis(settings.lock_timeout)),
        // A worker that fell asleep inside a transaction loses it before others take its lanes.
        ("idle_in_transaction_session_timeout", millis(settings.idle_in_transaction_timeout)),
        ("tcp_keepalives_idle", "10".to_owned()),
        ("tcp_keepalives_interval", "5".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
        ("tcp_user_timeout", "20000".to_owned()),
        // Partitions are pruned when a statement runs; planning it anew each time costs more than the statement.
        ("plan_cache_mode", "force_generic_plan".to_owned()),
        ("jit", "off".to_owned()),
        // `pending` is nearly empty or full of work, and its statistics are those of another moment: of the plans that would do
        // for an empty table only those are left that go by the keys.
        ("enable_seqscan", "off".to_owned()),
        ("enable_mergejoin", "off".to_owned()),
    ]);
    Ok(options)
}
