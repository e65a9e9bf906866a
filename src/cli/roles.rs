//! Where the command line meets what it runs: the worker and the migrations, here and nowhere else.

use crate::config::{Config, DatabaseUrl};
use crate::database;
use crate::worker::{self, Mode};

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
pub(super) async fn work(config: Config, mode: Mode) -> Result<(), Stop> {
    worker::run(config, mode).await.map_err(|error| Stop::because(&error, ""))
}

/// The migrations, with the rights of `owner`; `runtime` names the role that the worker runs as,
/// where that is another. Returns the lines to show.
pub(super) async fn migrate(
    owner: &DatabaseUrl,
    runtime: Option<&DatabaseUrl>,
    dry_run: bool,
) -> Result<Vec<String>, Stop> {
    let report = database::migrate(owner.expose(), runtime.map(DatabaseUrl::expose), dry_run)
        .await
        .map_err(|error| Stop::because(&error, error.hint()))?;
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
