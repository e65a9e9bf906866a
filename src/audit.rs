//! The audit log: who did what and why (migrations/0008_audit.sql).

use serde_json::Value;
use sqlx::PgConnection;

/// Appends a record in the caller's transaction, so that it stands exactly when what it tells was done. `actor` is who asked; `action` and `target` are
/// the command and what it was given ("queue pause", "dapr"); `detail` its particulars, without secrets and personal data.
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
    let recorded = sqlx::query("select order_worker.record($1, $2, $3, $4)");
    recorded.bind(actor).bind(action).bind(target).bind(detail).execute(tx).await?;
    Ok(())
}

/// Who sits at this command line: `user@host`.
#[must_use]
pub fn actor() -> String {
    let first =
        |names: &[&str]| names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let host = || std::fs::read_to_string("/etc/hostname").ok().map(|name| name.trim().to_owned());
    let user = first(&["SUDO_USER", "USER", "LOGNAME"]).unwrap_or_else(|| "unknown".into());
    format!("{user}@{}", first(&["HOSTNAME"]).or_else(host).unwrap_or_else(|| "localhost".into()))
}
