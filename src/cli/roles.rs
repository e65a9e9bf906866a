//! Where the command line meets what it runs: the worker, the migrations and the database, here and nowhere else.

use crate::app::config::{Config, Layers};
use crate::app::schema::{self, SchemaState};
use crate::app::worker::{self, Mode, WorkerError};
use crate::platform::database::{self, PgPool};
use crate::platform::settings::DatabaseUrl;

use super::exit::{Exit, Stop};

/// Runs one role to its end on a runtime of its own.
pub(super) fn block_on<T>(role: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::failed(Exit::Failed, format!("cannot start: {error}"), ""))?
        .block_on(role)
}

/// The worker.
pub(super) async fn work(config: Config, layers: Layers, mode: Mode) -> Result<(), Stop> {
    worker::run(config, layers, mode).await.map_err(|error| {
        let exit = if matches!(error, WorkerError::Pooled(_)) { Exit::Usage } else { Exit::Failed };
        Stop::because_of(exit, &error, "")
    })
}

/// The database of the worker, for a command.
pub(super) async fn database(config: &Config) -> Result<PgPool, Stop> {
    let pool = database::connect_for_a_command(config.database_url()?.expose(), &config.worker.database)?;
    match schema::schema_state_directly(&pool).await? {
        SchemaState::Fits => Ok(pool),
        SchemaState::Older(why) => Err(Stop::failed(Exit::Failed, why, "order-worker migrate")),
        SchemaState::Newer(why) => Err(Stop::failed(Exit::Failed, why, "deploy a newer order-worker")),
    }
}

/// The same for pages, which many look at for long.
pub(super) async fn database_of_pages(config: &Config) -> Result<PgPool, Stop> {
    database(config).await?.close().await;
    Ok(database::connect_for_pages(config.database_url()?.expose(), &config.worker.database)?)
}

/// The migrations, with the rights of `owner`; `runtime` names the role that the worker runs as,
/// where that is another. Returns the lines to show.
pub(super) async fn migrate(
    owner: &DatabaseUrl,
    runtime: Option<&DatabaseUrl>,
    dry_run: bool,
) -> Result<Vec<String>, Stop> {
    let report = schema::migrate(owner.expose(), runtime.map(DatabaseUrl::expose), dry_run)
        .await
        .map_err(|error| Stop::because(&error, &error.hint()))?;
    let (applied, granted) = if dry_run { ("would apply", "would grant") } else { ("applied", "granted") };
    let mut lines: Vec<String> =
        report.applied.iter().map(|(version, name)| format!("{applied} {version:04} {name}")).collect();
    if lines.is_empty() {
        lines.push("the schema is up to date".to_owned());
    }
    lines.extend(report.granted.map(|role| format!("{granted} the runtime rights to {role}")));
    lines.extend(report.notes.into_iter().map(|note| format!("note: {note}")));
    Ok(lines)
}
