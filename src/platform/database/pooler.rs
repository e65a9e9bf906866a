//! Whether the sessions that are given out are sessions.
//!
//! A pooler in transaction mode (PgBouncer, or what is like it) lends a backend for one transaction. Prepared statements and settings
//! then land in the sessions of others, LISTEN hears nothing, and no limit holds. That is no database to work with, so it is looked
//! for before anything is asked of it. In session mode a pooler does no harm.

use sqlx::{ConnectOptions, Connection, PgConnection, PgTransaction};

use super::class::UnusableSession;

/// Sees whether two sessions keep their backends. A pooler lends the backend that came back last, which then serves the other session,
/// or the one that waited longest, which is another one at the next statement.
///
/// # Errors
///
/// [`UnusableSession::Pooled`] on a proof; else the database's.
pub(crate) async fn keeps_backends(
    first: &mut PgConnection,
    options: &impl ConnectOptions<Connection = PgConnection>,
) -> Result<(), sqlx::Error> {
    let before = [backend(first).await?, backend(first).await?];
    let mut second = options.connect().await?;
    let other = {
        let mut transaction = begin(&mut second).await?;
        let other = backend(&mut transaction).await?;
        transaction.rollback().await?;
        other
    };
    let after = backend(first).await?;
    let _ = second.close().await;
    if before.contains(&other) {
        return Err(UnusableSession::Pooled("two connections were given one backend".into()).into());
    }
    if before != [after; 2] {
        return Err(UnusableSession::exchanged().into());
    }
    Ok(())
}

/// In statement mode a pooler refuses transactions.
async fn begin(session: &mut PgConnection) -> Result<PgTransaction<'_>, sqlx::Error> {
    session.begin().await.map_err(|error| match error.as_database_error() {
        Some(refusal) if refusal.code().as_deref() == Some("08P01") => {
            UnusableSession::Pooled(refusal.message().to_owned()).into()
        }
        _ => error,
    })
}

async fn backend(session: &mut PgConnection) -> Result<i32, sqlx::Error> {
    use sqlx::Row;
    sqlx::raw_sql("select pg_backend_pid()").fetch_one(session).await?.try_get(0)
}
