//! The migrations of this binary.

use std::sync::LazyLock;

use sqlx::migrate::Migrator;

pub(super) static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.dangerous_set_table_name("order_worker._sqlx_migrations");
    migrator.create_schema("order_worker");
    // After a roll-back the schema is newer than this binary; whether they go together, `state::state` says.
    migrator.set_ignore_missing(true);
    migrator
});

/// The newest version that this binary knows.
pub(super) fn newest() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0)
}
