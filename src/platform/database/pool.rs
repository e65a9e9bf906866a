//! The connections of this process, and the end of those whose session is broken.
//!
//! A session can be broken while its connection is well: its server has become a standby, an ALTER has made a plan wrong that it keeps,
//! a pooler has given its prepared statements to another. Whatever runs in it fails, again and again, and nothing that it is asked is
//! to blame. So
//!
//! 1. a statement that fails for its session ([`Class::Session`]) makes every session distrusted that is as old as the failure: they
//!    share its cause, and are closed instead of being given out again;
//! 2. a session whose transaction was given up is closed, whatever the reason was: nothing of it is carried into the next;
//! 3. a new session is told its limits, and asked whether it can write, before anything runs in it ([`SessionSettings`]).

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{ConnectOptions, Connection, Either, Execute, Executor, PgConnection, Postgres, SqlStr};

use super::class::{Class, UnusableSession, class};
use super::pooler;
use super::session_settings::SessionSettings;

/// A pool of connections, sqlx's, without sessions that are broken. Clones share it.
#[derive(Clone)]
pub struct PgPool {
    connections: sqlx::PgPool,
    trust: Arc<Trust>,
    settings: Arc<SessionSettings>,
}

impl PgPool {
    /// A pool that connects when it is needed.
    #[must_use]
    pub(super) fn lazy(pool: PgPoolOptions, connect: PgConnectOptions, settings: SessionSettings) -> Self {
        let (trust, settings) = (Arc::new(Trust::default()), Arc::new(settings));
        let (acquired, released, told) = (Arc::clone(&trust), Arc::clone(&trust), Arc::clone(&settings));
        let connections = pool
            .after_connect(move |session, _| {
                let settings = Arc::clone(&told);
                async move { settings.apply(session).await.map(|_| ()) }.boxed()
            })
            .before_acquire(move |_, seen| {
                let trusted = acquired.includes(seen.age);
                async move { Ok(trusted) }.boxed()
            })
            .after_release(move |session, seen| {
                // What waits to be sent is the ROLLBACK of a transaction that was neither committed nor rolled back.
                let kept = released.includes(seen.age) && !session.should_flush();
                async move { Ok(kept) }.boxed()
            })
            .connect_lazy_with(connect);
        Self { connections, trust, settings }
    }

    /// Throws away the sessions that `error` has shown to be broken, and tells whether it did: then what failed is worth another try
    /// at once. What fails again is the environment's.
    pub fn renewed_after(&self, error: &sqlx::Error) -> bool {
        let broken = class(error) == Class::Session;
        if broken && self.trust.end() {
            tracing::warn!("Database sessions are thrown away: error={error}");
        }
        broken
    }

    /// A session with the same settings that belongs to no pool. Its error says why there is none; a pool's says only that it waited in
    /// vain.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub async fn session(&self) -> Result<Session, sqlx::Error> {
        let mut connection = self.connections.connect_options().connect().await?;
        let backend = self.settings.apply(&mut connection).await?;
        Ok(Session { connection, backend, settings: Arc::clone(&self.settings) })
    }

    /// The same, after a look at whether sessions here keep their backends.
    ///
    /// # Errors
    ///
    /// Also [`UnusableSession::Pooled`](super::UnusableSession::Pooled).
    pub async fn first_session(&self) -> Result<Session, sqlx::Error> {
        let options = self.connections.connect_options();
        let mut connection = options.connect().await?;
        // Before it is told anything: behind such a pooler others would be told as well.
        pooler::keeps_backends(&mut connection, &*options).await?;
        let backend = self.settings.apply(&mut connection).await?;
        Ok(Session { connection, backend, settings: Arc::clone(&self.settings) })
    }

    fn saw(&self, error: &sqlx::Error) {
        self.renewed_after(error);
    }
}

impl fmt::Debug for PgPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PgPool").field(&self.connections).finish()
    }
}

impl Deref for PgPool {
    type Target = sqlx::PgPool;

    fn deref(&self) -> &sqlx::PgPool {
        &self.connections
    }
}

/// A session of its own.
#[derive(Debug)]
pub struct Session {
    pub(super) connection: PgConnection,
    backend: i32,
    settings: Arc<SessionSettings>,
}

impl Session {
    /// For what is asked in it.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Sees whether it is there, and still what it was.
    ///
    /// # Errors
    ///
    /// [`UnusableSession`], as an error of the connection; else the database's.
    pub async fn still_fits(&mut self) -> Result<(), sqlx::Error> {
        let backend = self.settings.check(&mut self.connection).await?;
        if backend == self.backend { Ok(()) } else { Err(UnusableSession::exchanged().into()) }
    }
}

/// The same as sqlx's, with a look at what fails.
impl<'p> Executor<'p> for &PgPool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        (&self.connections).fetch_many(query).inspect_err(move |error| pool.saw(error)).boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        (&self.connections).fetch_optional(query).inspect_err(move |error| pool.saw(error)).boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        (&self.connections).prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        (&self.connections).describe(sql)
    }
}

/// Which sessions are trusted: those made after the last one that was found to be broken.
#[derive(Debug, Default)]
struct Trust(Mutex<Option<Instant>>);

impl Trust {
    fn since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a session of this age is trusted.
    fn includes(&self, age: Duration) -> bool {
        self.since().is_none_or(|since| since.elapsed() > age)
    }

    /// No session that is here now is trusted any more. Tells whether that is news of more than a second: sessions side by side fail
    /// together.
    fn end(&self) -> bool {
        let last = self.since().replace(Instant::now());
        last.is_none_or(|last| last.elapsed() > Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sessions_that_are_younger_than_the_failure_are_trusted() {
        let trust = Trust::default();
        assert!(trust.includes(Duration::from_secs(3600)));
        assert!(trust.end());
        assert!(!trust.end(), "told once");
        assert!(!trust.includes(Duration::from_secs(3600)));
        std::thread::sleep(Duration::from_millis(5));
        assert!(trust.includes(Duration::from_millis(1)));
    }
}
