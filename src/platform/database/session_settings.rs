//! The settings of a session, applied before anything runs in it.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::class::UnusableSession;
use super::settings::Database;

/// The longest that a page of the console is worth waiting for.
const PAGE: Duration = Duration::from_secs(10);

/// The settings of a session, and whether it has to be able to write.
///
/// They are set by a statement and not by the `options` of the connection, which poolers refuse or swallow.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    settings: Vec<(&'static str, String)>,
    writes: bool,
}

impl SessionSettings {
    /// Of every session. What a database or a role has as its default would else change the outcome (a snapshot that is older than
    /// the lock), or the speed by much (predicate locks of each row that is read).
    fn common() -> Self {
        Self { settings: Vec::new(), writes: false }
            .with("default_transaction_isolation", "read committed")
            .with("default_transaction_deferrable", "off")
            .with("jit", "off")
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((name, value.into()));
        self
    }

    /// A statement, a wait for a lock, and an idle transaction end after these times.
    fn limited(self, statement: Duration, lock: Duration, idle: Duration) -> Self {
        let millis = |time: Duration| format!("{}ms", time.as_millis());
        self.with("statement_timeout", millis(statement))
            .with("lock_timeout", millis(lock))
            // A worker that fell asleep inside a transaction loses it before others take its lanes.
            .with("idle_in_transaction_session_timeout", millis(idle))
    }

    /// Of the worker's own sessions.
    pub(crate) fn of_the_worker(settings: &Database) -> Self {
        let all = Self::common()
            .limited(settings.statement_timeout, settings.lock_timeout, settings.idle_in_transaction_timeout)
            .with("tcp_keepalives_idle", "10")
            .with("tcp_keepalives_interval", "5")
            .with("tcp_keepalives_count", "3")
            .with("tcp_user_timeout", "20000")
            // Partitions are pruned when a statement runs; planning it anew each time costs more than the statement.
            .with("plan_cache_mode", "force_generic_plan")
            // `pending` is nearly empty or full of work, and its statistics are those of another moment: of the plans that would do
            // for an empty table only those are left that go by the keys.
            .with("enable_seqscan", "off")
            .with("enable_mergejoin", "off");
        Self { writes: true, ..all }
    }

    /// Of the pages of the console: short statements. What pages ask differs, so each is planned as it is.
    pub(crate) fn of_pages(settings: &Database) -> Self {
        Self::common()
            .limited(settings.statement_timeout.min(PAGE), settings.lock_timeout, settings.idle_in_transaction_timeout)
            .with("plan_cache_mode", "force_custom_plan")
    }

    /// Of a command of an operator, which may go through a long history.
    pub(crate) fn of_a_command() -> Self {
        Self::common()
            .limited(Duration::from_secs(30 * 60), Duration::from_secs(10), Duration::from_secs(60))
            .with("plan_cache_mode", "force_custom_plan")
    }

    /// Of a session that migrates: it may take its time.
    pub(crate) fn of_a_migration() -> Self {
        let all = Self::common().with("statement_timeout", "0").with("idle_in_transaction_session_timeout", "0");
        Self { writes: true, ..all }
    }

    /// Tells a session its settings, and sees what it is, in one round trip. Returns the backend that serves it.
    ///
    /// # Errors
    ///
    /// [`UnusableSession`], as an error of the connection, when it cannot write and has to; else the database's.
    pub(crate) async fn apply(&self, session: &mut PgConnection) -> Result<i32, sqlx::Error> {
        let told: Vec<String> =
            self.settings.iter().map(|(name, value)| format!(", set_config('{name}', '{value}', false)")).collect();
        self.look(session, &told.concat()).await
    }

    /// Sees what a session is that was made before. Returns the backend that serves it.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply).
    pub(crate) async fn check(&self, session: &mut PgConnection) -> Result<i32, sqlx::Error> {
        self.look(session, "").await
    }

    async fn look(&self, session: &mut PgConnection, told: &str) -> Result<i32, sqlx::Error> {
        let sql = format!(
            "select pg_backend_pid() as backend, pg_is_in_recovery() as standby, \
             current_setting('transaction_read_only')::boolean as read_only{told}"
        );
        // Names and values are this module's. No prepared statement: it may be a pooler's session.
        let seen = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(session).await?;
        match (self.writes, seen.try_get("standby")?, seen.try_get("read_only")?) {
            (true, true, _) => Err(UnusableSession::ReadOnly("it is a standby").into()),
            (true, false, true) => Err(UnusableSession::ReadOnly(
                "default_transaction_read_only is on for the server, the database or the role",
            )
            .into()),
            _ => seen.try_get("backend"),
        }
    }
}
