//! The prober's own connections, made again whenever one fails.
//!
//! The database is not asked through the pool: a busy pool is not an unreachable database.
//! Redis is not asked through the crate's connection manager, which makes a failed connection again
//! only after an I/O error: one password refused, and it would stay broken after the password is right.

use std::future::Future;
use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;

use crate::dapr::sidecar;
use crate::platform::database::{PgPool, Session};
use crate::platform::health::Condition;

/// The limit of a probe.
pub(super) const TIMEOUT: Duration = Duration::from_secs(1);

/// `look`, with a limit. What it had in hand is dropped when it takes longer.
pub(super) async fn within<C: Into<Condition>>(look: impl Future<Output = C>) -> Condition {
    match tokio::time::timeout(TIMEOUT, look).await {
        Ok(seen) => seen.into(),
        Err(_) => Condition::bad(format!("no answer in {} s", TIMEOUT.as_secs())),
    }
}

/// Postgres.
pub(super) struct Database {
    pool: PgPool,
    session: Option<Session>,
}

impl Database {
    /// With the address and the credentials of `pool`, as they are when a connection is made.
    pub(super) fn of(pool: &PgPool) -> Self {
        Self { pool: pool.clone(), session: None }
    }

    /// `host:port/database`, or the socket's path in place of host and port.
    pub(super) fn addr(&self) -> String {
        let options = self.pool.connect_options();
        let database = options.get_database().unwrap_or_default();
        match options.get_socket() {
            Some(socket) => format!("{}/{database}", socket.display()),
            None => format!("{}:{}/{database}", options.get_host(), options.get_port()),
        }
    }

    pub(super) async fn look(&mut self) -> Result<String, sqlx::Error> {
        // Taken out, so that a session whose answer did not come in time is not used again.
        let session = match self.session.take() {
            Some(mut session) => session.still_fits().await.map(|()| session),
            None => self.pool.session().await,
        };
        self.session = Some(session?);
        Ok("reachable".to_owned())
    }
}

/// The Dapr sidecar.
pub(super) struct Sidecar {
    pub(super) channel: Channel,
    pub(super) api_token: Option<AsciiMetadataValue>,
    /// The number of resiliency resources it has loaded, where it tells.
    pub(super) resiliencies: Option<usize>,
}

impl Sidecar {
    pub(super) async fn look(&mut self) -> Result<String, sidecar::Error> {
        let answer = sidecar::metadata(self.channel.clone(), self.api_token.as_ref()).await?;
        self.resiliencies = answer.resiliencies().map(|names| names.len());
        Ok(format!("reachable, app id {}, version {}", answer.id, answer.version))
    }
}

/// Redis.
pub(super) struct Redis {
    client: redis::Client,
    connection: Option<MultiplexedConnection>,
}

impl Redis {
    pub(super) fn of(client: redis::Client) -> Self {
        Self { client, connection: None }
    }

    /// `host:port`, without credentials.
    pub(super) fn addr(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    pub(super) async fn look(&mut self) -> Result<String, redis::RedisError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(TIMEOUT))
                    .set_response_timeout(Some(TIMEOUT));
                let connect = self.client.get_multiplexed_async_connection_with_config(&config);
                connect.await?
            }
        };
        let ping = redis::cmd("PING");
        ping.query_async::<()>(&mut connection).await?;
        self.connection = Some(connection);
        Ok("reachable".to_owned())
    }
}
