//! The audit log: who did what and why (migrations/0002_engine.sql).
//!
//! A record names a person, as they have said it themselves: a command is told by `--as`, the console by the login. Nothing is guessed from
//! the environment, in which anybody may set `USER` to anything. Beside it stand the database role, and the host that it came from.

use serde_json::Value;
use sqlx::PgConnection;

use crate::platform::database::storable_json;

/// Appends a record in the caller's transaction, so that it is committed together with the action. `actor` is the person; `action` and
/// `target` are the command and its argument ("queue pause", "inbox"); `detail` has the particulars, without secrets and personal data.
///
/// # Errors
///
/// The database's.
pub async fn record(
    tx: &mut PgConnection,
    actor: &str,
    action: &str,
    target: &str,
    detail: &Value,
) -> Result<(), sqlx::Error> {
    let recorded = sqlx::query("select order_worker.record($1, $2, $3, $4, $5)");
    let detail = storable_json(detail);
    recorded.bind(actor).bind(action).bind(target).bind(detail).bind(host()).execute(tx).await?;
    Ok(())
}

/// The machine or pod that this process runs on, as its kernel says.
fn host() -> Option<String> {
    let name =
        ["/proc/sys/kernel/hostname", "/etc/hostname"].iter().find_map(|path| std::fs::read_to_string(path).ok());
    name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}
