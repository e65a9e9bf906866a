//! `order-worker migrate`: verifies shared tables that exist, runs what is missing, and grants the runtime role its rights.

use std::sync::LazyLock;

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::adopt;

static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.dangerous_set_table_name("order_worker._sqlx_migrations");
    migrator.create_schema("order_worker");
    migrator
});

/// The newest version that this binary knows.
pub(super) fn newest() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// What a migration did, or would do.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Versions and names that were (or would be) applied.
    pub applied: Vec<(i64, String)>,
    /// The role that was granted its rights.
    pub granted: Option<String>,
    /// Things to know: shared tables adopted, statuses that the machine does not know.
    pub notes: Vec<String>,
}

/// A migration that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The URL or the database.
    #[error("the database")]
    Database(#[from] sqlx::Error),
    /// A migration.
    #[error("a migration")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// Shared tables that are not the ones of the contract.
    #[error("the shared tables differ from the contract in migrations/README.md; nothing was changed:\n  {}", .0.join("\n  "))]
    Contract(Vec<String>),
    /// A name that cannot be a role's.
    #[error("DATABASE_URL names no user, so that nobody can be granted the runtime rights")]
    NoUser,
}

/// Migrates the database of `url`. `runtime_url`, when it names another user, is the worker's: it is granted the least rights.
/// Two that run at once wait for each other.
///
/// # Errors
///
/// [`MigrateError`]; a migration runs in a transaction of its own, so that nothing is left half done.
pub async fn migrate(url: &str, runtime_url: Option<&str>, dry_run: bool) -> Result<Report, MigrateError> {
    let options = super::options(url)?;
    let migrator_role = options.get_username().to_owned();
    let mut connection = PgConnection::connect_with(&options).await?;
    let mut report = Report { notes: adopt::verify(&mut connection).await?, ..Report::default() };
    let done = applied(&mut connection).await?;
    report.applied = MIGRATOR
        .iter()
        .filter(|migration| !done.contains(&migration.version))
        .map(|migration| (migration.version, migration.description.to_string()))
        .collect();
    let runtime_role = runtime_url.map(super::options).transpose()?.map(|options| options.get_username().to_owned());
    report.granted = runtime_role.filter(|role| *role != migrator_role);
    if dry_run {
        return Ok(report);
    }
    MIGRATOR.run(&mut connection).await?;
    sqlx::query("select order_worker.ensure_partitions(7)").execute(&mut connection).await?;
    if let Some(role) = &report.granted {
        grant(&mut connection, role).await?;
    }
    report.notes.extend(adopt::unknown_statuses(&mut connection).await?);
    connection.close().await?;
    Ok(report)
}

async fn applied(connection: &mut PgConnection) -> Result<Vec<i64>, sqlx::Error> {
    let (present,): (bool,) = sqlx::query_as("select to_regclass('order_worker._sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    if !present {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("select version from order_worker._sqlx_migrations where success").fetch_all(connection).await
}

async fn grant(connection: &mut PgConnection, role: &str) -> Result<(), MigrateError> {
    if role.is_empty() {
        return Err(MigrateError::NoUser);
    }
    let quoted = format!("\"{}\"", role.replace('"', "\"\""));
    // A role cannot be a parameter; it is quoted as an identifier.
    let statements = include_str!("sql/grants.sql").replace(":role", &quoted);
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await?;
    Ok(())
}
