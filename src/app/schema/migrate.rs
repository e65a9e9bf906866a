//! `order-worker migrate`: verifies shared tables that exist, runs what is missing, and grants the runtime role its rights.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::migrations::{MIGRATOR, newest};
use super::state::{self, SchemaState};
use super::{MigrateError, adopt, fit, sequences};
use crate::platform::database::session_settings::SessionSettings;
use crate::platform::database::{self, pooler};

/// The report of a migration, or of its dry run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Versions and names that were (or would be) applied.
    pub applied: Vec<(i64, String)>,
    /// The role that was granted its rights.
    pub granted: Option<String>,
    /// Things to know: shared tables adopted, statuses that the machine does not know.
    pub notes: Vec<String>,
}

/// Migrates the database of `url`. `runtime_url`, when it names another user, is the worker's: it is granted the least rights.
/// Two that run at once wait for each other.
///
/// # Errors
///
/// [`MigrateError`]; a migration runs in a transaction of its own, so that nothing is left half done.
pub async fn migrate(url: &str, runtime_url: Option<&str>, dry_run: bool) -> Result<Report, MigrateError> {
    let options = database::options(url)?;
    let migrator_role = options.get_username().to_owned();
    let mut connection = PgConnection::connect_with(&options).await?;
    pooler::keeps_backends(&mut connection, &options).await?;
    let settings = if dry_run { SessionSettings::of_a_command() } else { SessionSettings::of_a_migration() };
    settings.apply(&mut connection).await?;
    if !dry_run {
        // Until the session ends: of two that run at once the second waits here, and tells what it finds.
        sqlx::query("select pg_advisory_lock(hashtext('order_worker.migrate'))").execute(&mut connection).await?;
    }
    let mut report = Report::default();
    let adopted = adopt::verify(&mut connection).await?;
    let done = applied(&mut connection).await?;
    if done.is_empty() {
        report.notes.extend(adopted.iter().map(|table| format!("public.{table} exists: adopted as it is")));
    }
    if adopted.contains(&"orders") {
        report.notes.extend(adopt::unknown_statuses(&mut connection).await?);
    }
    report.notes.extend(adopt::missing_indexes(&mut connection, &adopted).await?);
    let refused = fit::refused_statuses(&mut connection, &adopted).await?;
    if done.is_empty() && !refused.is_empty() {
        return Err(MigrateError::Contract(refused));
    }
    report.notes.extend(refused);
    report.notes.extend(fit::published_without_identity(&mut connection).await?);
    let runtime_role = runtime_url.map(database::options).transpose()?.map(|options| options.get_username().to_owned());
    let worker = runtime_role.as_deref().unwrap_or(&migrator_role);
    report.notes.extend(fit::held_back(&mut connection, worker).await?);
    if let SchemaState::Newer(why) = state::state(&mut connection).await? {
        return Err(MigrateError::Newer(why));
    }
    if let Some(version) = done.iter().max().filter(|version| **version > newest()) {
        report.notes.push(format!("the schema is at version {version}, newer than this order-worker: left as it is"));
    }
    report.applied = MIGRATOR
        .iter()
        .filter(|migration| !done.contains(&migration.version))
        .map(|migration| (migration.version, migration.description.to_string()))
        .collect();
    report.granted = runtime_role.filter(|role| *role != migrator_role);
    if dry_run {
        return Ok(report);
    }
    MIGRATOR.run(&mut connection).await?;
    report
        .notes
        .extend(adopt::misfits(&mut connection).await?.into_iter().map(|misfit| format!("{misfit}: made again")));
    sqlx::query("select order_worker.fit_ids()").execute(&mut connection).await?;
    sqlx::query("select order_worker.ensure_partitions(7)").execute(&mut connection).await?;
    report.notes.extend(sequences::catch_up(&mut connection).await?);
    if let Some(role) = &report.granted {
        grant(&mut connection, role).await?;
    }
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
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *connection).await?;
    let sequences: Vec<String> =
        sqlx::query_scalar(include_str!("sql/sequences.sql")).fetch_all(&mut *connection).await?;
    for sequence in sequences {
        let usage = format!("grant usage on sequence {sequence} to {quoted}");
        sqlx::raw_sql(AssertSqlSafe(usage)).execute(&mut *connection).await?;
    }
    Ok(())
}
