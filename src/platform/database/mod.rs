//! The database: sessions that cannot become zombies, the schema, and what an error of it means.

mod class;
mod names;
mod pool;
pub mod pooler;
pub mod session_settings;
pub mod settings;
mod storable;
mod traced;

use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

pub use class::{Class, UnusableSession, class, lacks_rights, unusable_session};
pub(crate) use names::read_by_name;
pub use pool::{PgPool, Session};
pub use storable::{storable, storable_json};
pub use traced::traced;

use crate::platform::telemetry::chain;
use crate::platform::tls;
use session_settings::SessionSettings;
use settings::Database;

/// A hint for an error of the TLS connection; none for other errors.
#[must_use]
pub fn tls_hint(error: &sqlx::Error) -> Option<String> {
    tls::hint(&chain(error).to_string(), "sslrootcert of the database URL")
}

/// The hint for a pooler that shares sessions.
pub const POOLED: &str = "the worker needs sessions of its own (limits, prepared statements, LISTEN): \
     name Postgres itself in DATABASE_URL, or a pooler with pool_mode = session";

/// A hint for a session that was refused, or cannot be used; none for other errors.
#[must_use]
pub fn hint(error: &sqlx::Error) -> Option<&'static str> {
    match unusable_session(error) {
        Some(UnusableSession::Pooled(_)) => return Some(POOLED),
        Some(UnusableSession::ReadOnly(_)) => {
            return Some("name the primary in DATABASE_URL, or let it be written again");
        }
        None => {}
    }
    let refusal = error.as_database_error()?.message();
    refusal.contains("unsupported startup parameter").then_some(
        "the pooler refuses a parameter of the connection: take it out of the database URL, or name it in ignore_startup_parameters of PgBouncer",
    )
}

/// One column of rows, as Postgres' unnest takes it.
pub fn column<'r, R, V>(rows: &'r [R], value: impl Fn(&'r R) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}

/// The options of a connection.
///
/// # Errors
///
/// When the URL is none, or names a file of certificates that cannot be read.
pub fn options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    certificates_are_there(url)?;
    // What poolers refuse is left out: numbers are read in their binary form, whatever extra_float_digits is.
    let options = PgConnectOptions::from_str(url)?.application_name("order-worker").extra_float_digits(None);
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

/// The lifetime of a connection of a pool.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// A pool for a command of an operator: what it asks differs from one time to the next, so each statement is planned as it is, and
/// one that goes through a long history may take its time.
pub fn connect_for_a_command(url: &str, settings: &Database) -> Result<PgPool, sqlx::Error> {
    let pool = PgPoolOptions::new().max_connections(2).acquire_timeout(settings.acquire_timeout);
    Ok(PgPool::lazy(pool, worker_options(url, settings)?, SessionSettings::of_a_command()))
}

/// Connections of the console and the board together.
const PAGES: u32 = 4;

/// A pool for the pages of the console: few connections and short statements of their own, so that whoever looks, however often
/// and at whatever, takes none from the events.
pub fn connect_for_pages(url: &str, settings: &Database) -> Result<PgPool, sqlx::Error> {
    let pool =
        PgPoolOptions::new().max_connections(PAGES).acquire_timeout(settings.acquire_timeout).max_lifetime(LIFETIME);
    Ok(PgPool::lazy(pool, pages_options(url, settings)?, SessionSettings::of_pages(settings)))
}

/// The options by which [`connect_for_pages`] connects.
pub fn pages_options(url: &str, settings: &Database) -> Result<PgConnectOptions, sqlx::Error> {
    Ok(worker_options(url, settings)?.application_name("order-worker console"))
}

/// A pool that connects when it is needed, and never to a session without limits.
pub fn connect(url: &str, settings: &Database) -> Result<PgPool, sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(settings.acquire_timeout)
        // A session that has broken meanwhile shows at the first statement, and the pool throws all of its age away (`pool.rs`): a ping
        // before each would be a round trip for nothing.
        .test_before_acquire(false)
        .max_lifetime(LIFETIME);
    Ok(PgPool::lazy(pool, worker_options(url, settings)?, SessionSettings::of_the_worker(settings)))
}

/// The options by which [`connect`] connects.
pub fn worker_options(url: &str, settings: &Database) -> Result<PgConnectOptions, sqlx::Error> {
    // With none, each statement would be prepared under a name that nothing takes back before the session ends.
    Ok(options(url)?.statement_cache_capacity(settings.statement_cache.max(1)))
}
