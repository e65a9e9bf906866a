//! Postgres: the server, the schema, the rights of the role, the queue.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Findings, tables, zones};
use crate::app::config::Config;
use crate::app::schema::{self, SchemaState};
use crate::platform::database::{self, PgPool};
use crate::platform::telemetry::chain;

/// The oldest server that the worker runs on.
const OLDEST: i32 = 150_000;
/// A transaction that is open longer keeps dead rows of the queue from being cleaned away.
const LONG: f64 = 60.0;
/// A clock that is off by more makes logs and traces misleading; nothing else depends on it.
const OFF: f64 = 2.0;

/// How long a session may take to begin.
const SESSION: Duration = Duration::from_secs(15);

#[derive(sqlx::FromRow)]
struct Server {
    version: i32,
    version_name: String,
    fsync: String,
    synchronous_commit: String,
    max_connections: i32,
    standby: bool,
    read_only: bool,
    now: DateTime<Utc>,
    superuser: bool,
    role: String,
    oldest_transaction: f64,
}

/// The limits of the worker's sessions.
#[derive(sqlx::FromRow)]
struct Limits {
    statement: String,
    lock: String,
    idle: String,
}

#[derive(sqlx::FromRow)]
struct Queue {
    workers: i64,
    unowned: i64,
    missing_partitions: i64,
    dead: i64,
    undecided: i64,
    incidents: i64,
    pauses: i64,
    old: i64,
    failing: Option<String>,
    late_jobs: Option<String>,
    unattended_jobs: Option<String>,
}

pub(super) async fn examine(config: &Config, pool: &PgPool, findings: &mut Findings) {
    // Before anything is asked of it: what a pooler hides would else show as something else.
    let Ok(session) = tokio::time::timeout(SESSION, pool.first_session()).await else {
        let next = "see that Postgres is there; a pooler before it lends no backend: default_pool_size is at least the connections of all replicas, and those of commands";
        return findings.broken("database", format!("no session in {SESSION:?}"), next);
    };
    if let Err(error) = session {
        let next = database::tls_hint(&error).unwrap_or_else(|| {
            database::hint(&error)
                .unwrap_or("see that Postgres is there, what DATABASE_URL names, and that a network policy lets this pod through")
                .to_owned()
        });
        return findings.broken("database", format!("no answer: {}", chain(&error)), next);
    }
    match sqlx::query_as::<_, Server>(include_str!("sql/server.sql")).fetch_one(pool).await {
        Err(error) => {
            let next = "see that Postgres is there, and what DATABASE_URL names";
            return findings.broken("database", format!("no answer: {error}"), next);
        }
        Ok(server) => self::server(config, &server, findings),
    }
    limits(config, findings).await;
    match schema::schema_state_directly(pool).await {
        Ok(SchemaState::Fits) => findings.ok("schema", "fits this order-worker"),
        Ok(SchemaState::Older(why)) => return findings.broken("schema", why, "order-worker migrate"),
        Ok(SchemaState::Newer(why)) => return findings.broken("schema", why, "deploy a newer order-worker"),
        Err(error) => {
            return findings.broken("schema", error.to_string(), "order-worker migrate, as the owner, for this role");
        }
    }
    match sqlx::query_scalar::<_, String>(include_str!("sql/rights.sql")).fetch_all(pool).await {
        Ok(missing) if missing.is_empty() => findings.ok("rights of the role", "all that the worker needs"),
        Ok(missing) => {
            let next = "order-worker migrate with the owner in MIGRATE_DATABASE_URL and this role in DATABASE_URL";
            findings.broken("rights of the role", format!("missing: {}", missing.join(", ")), next);
        }
        Err(error) => findings.broken("rights of the role", error.to_string(), "order-worker migrate"),
    }
    match schema::misfits(pool).await {
        Ok(misfits) if misfits.is_empty() => {
            findings.ok("ids of shared tables", "of the types that they were at the last migrate")
        }
        Ok(misfits) => {
            findings.broken("ids of shared tables", misfits.join("; "), "order-worker migrate, as the owner")
        }
        Err(error) => findings.broken(
            "ids of shared tables",
            error.to_string(),
            "order-worker migrate, as the owner, for this role",
        ),
    }
    match sqlx::query_as::<_, Queue>(include_str!("sql/queue.sql")).fetch_one(pool).await {
        Ok(queue) => self::queue(&queue, findings),
        Err(error) => findings.broken("queue", error.to_string(), "order-worker migrate, as the owner, for this role"),
    }
    tables::examine(pool, findings).await;
    super::reconciliation::examine(config, pool, findings).await;
}

/// As one of the worker's sessions has them.
async fn limits(config: &Config, findings: &mut Findings) {
    const ABOUT: &str = "limits of a session";
    let session = async {
        let url = config.database_url().map_err(|error| error.to_string())?;
        let pool = database::connect(url.expose(), &config.worker.database).map_err(|error| error.to_string())?;
        let limits: Limits = sqlx::query_as(include_str!("sql/limits.sql"))
            .fetch_one(pool.session().await.map_err(|error| chain(&error).to_string())?.connection())
            .await
            .map_err(|error| error.to_string())?;
        Ok::<_, String>(limits)
    };
    match session.await {
        Ok(Limits { statement, lock, idle }) if [&statement, &lock, &idle].iter().any(|limit| *limit == "0") => {
            let seen = format!("statement {statement}, lock {lock}, idle transaction {idle}: 0 is no limit");
            findings.broken(
                ABOUT,
                seen,
                "see what stands between the worker and Postgres: it takes SET and does nothing",
            );
        }
        Ok(Limits { statement, lock, idle }) => {
            let seen = format!(
                "a statement ends after {statement}, a wait for a lock after {lock}, an idle transaction after {idle}"
            );
            findings.ok(ABOUT, seen);
        }
        Err(error) => findings.warning(ABOUT, format!("not known: {error}"), "see what stands above"),
    }
}

fn server(config: &Config, server: &Server, findings: &mut Findings) {
    let settings = &config.worker.database;
    if server.version < OLDEST {
        findings.broken("database", format!("Postgres {}", server.version_name), "Postgres 15 or newer");
    } else if server.standby {
        findings.broken("database", "read-only: this is a standby", "name the primary in DATABASE_URL");
    } else if server.read_only {
        findings.broken(
            "database",
            "read-only: default_transaction_read_only is on for the server, the database or the role",
            "let it be written again; workers wait until then, and cannot renew their leases",
        );
    } else {
        findings.ok("database", format!("Postgres {}, as {}", server.version_name, server.role));
    }
    if server.fsync == "on" && server.synchronous_commit != "off" {
        findings.ok("durability", format!("fsync on, synchronous_commit {}", server.synchronous_commit));
    } else {
        let seen = format!("fsync {}, synchronous_commit {}", server.fsync, server.synchronous_commit);
        findings.broken("durability", seen, "switch both on: what was committed may be gone after a crash");
    }
    if server.superuser {
        findings.warning(
            "role",
            format!("{} is a superuser", server.role),
            "run the worker as a role of its own: README, Run it",
        );
    }
    let pool = i32::try_from(settings.max_connections).unwrap_or(i32::MAX);
    if pool.saturating_mul(3) > server.max_connections {
        let seen = format!("a pool of {pool} in each replica, of {} in all", server.max_connections);
        findings.warning(
            "connections",
            seen,
            "lower worker.database.max_connections, or raise max_connections of Postgres",
        );
    } else {
        findings.ok("connections", format!("a pool of {pool} in each replica, of {} in all", server.max_connections));
    }
    let off = (Utc::now() - server.now).as_seconds_f64();
    if off.abs() > OFF {
        let next = "set the clock here: leases and ticks go by the database's, logs and traces by this one";
        findings.warning("clock", format!("{off:+.1} s off the database's"), next);
    } else {
        findings.ok("clock", format!("{off:+.1} s off the database's"));
    }
    zones::examine(&config.worker.cron.time_zone, server.now, findings);
    if server.oldest_transaction > LONG {
        let seen = format!("one is open for {:.0} s", server.oldest_transaction);
        findings.warning(
            "open transactions",
            seen,
            "end it (pg_stat_activity.xact_start): dead rows of the queue stay until then",
        );
    } else {
        findings.ok("open transactions", format!("the oldest is open for {:.0} s", server.oldest_transaction));
    }
}

fn queue(queue: &Queue, findings: &mut Findings) {
    if queue.workers == 0 {
        findings.broken(
            "workers",
            "none is alive",
            "start one: order-worker -mode all; its log says what it waits for",
        );
    } else {
        findings.ok("workers", format!("{} alive", queue.workers));
    }
    if queue.unowned > 0 {
        findings.warning(
            "lanes",
            format!("{} of 128 belong to no live worker", queue.unowned),
            "look again after worker.queue.lease",
        );
    } else {
        findings.ok("lanes", format!("{} of 128 belong to no live worker", queue.unowned));
    }
    if queue.missing_partitions > 0 {
        let next = "see the worker's log for `Partitions`: until then rows go to the default partition";
        findings.warning("tomorrow's partitions", format!("{} are missing", queue.missing_partitions), next);
    } else {
        findings.ok("tomorrow's partitions", "all there");
    }
    if queue.old > 0 {
        findings.warning(
            "backlog",
            format!("{} rows are older than 5 minutes", queue.old),
            "order-worker queue list; order-worker outbox list --state waiting says why",
        );
    } else {
        findings.ok("backlog", "no row is older than 5 minutes");
    }
    if let Some(failing) = &queue.failing {
        let next = "mend what the error names, or give a row up: order-worker inbox reject ID an event, order-worker outbox skip ID a message, order-worker cron cancel RUN a run";
        findings.warning("rows that wait", failing, next);
    } else {
        findings.ok("rows that wait", "none for over 5 minutes");
    }
    if let Some(jobs) = &queue.unattended_jobs {
        findings.broken(
            "jobs",
            format!("no worker that is alive runs them: {jobs}"),
            "run a worker in mode cron or all; one that is there takes them over within a minute",
        );
    } else if let Some(jobs) = &queue.late_jobs {
        findings.broken(
            "jobs",
            format!("late by more than 5 minutes: {jobs}"),
            "run a worker in mode cron or all; order-worker cron list",
        );
    } else {
        findings.ok("jobs", "none is late");
    }
    for (about, rows, next) in [
        ("dead rows", queue.dead, "order-worker dead list"),
        ("undecided events", queue.undecided, "order-worker inbox list --outcome held; order-worker quarantine list"),
        ("incidents", queue.incidents, "order-worker incident list"),
        ("pauses", queue.pauses, "order-worker queue list; order-worker cron list"),
    ] {
        if rows > 0 {
            findings.warning(about, format!("{rows}"), next);
        } else {
            findings.ok(about, "none");
        }
    }
}
