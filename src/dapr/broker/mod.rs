//! The Redis of the broker, which the worker watches and whose streams it reads; the messages themselves go through Dapr.

pub mod settings;

use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates};

use settings::Redis;

/// Settings with which there is no way to Redis.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

/// Redis, where there is one to watch.
///
/// # Errors
/// When the address, or the file of the CAs, cannot be used. The file is read here, once.
pub fn client(settings: &Redis) -> Result<Option<Client>, Unusable> {
    let Some(addr) = &settings.addr else { return Ok(None) };
    let refuse = |key: &str, why: &dyn std::fmt::Display| Unusable(format!("{key}: {why}"));
    let mut info =
        (addr.host(), addr.port()).into_connection_info().map_err(|error| refuse("data.redis.addr", &error))?;
    let mut session = RedisConnectionInfo::default().set_db(i64::from(settings.db));
    if !settings.username.is_empty() {
        session = session.set_username(&settings.username);
    }
    if let Some(password) = &settings.password {
        session = session.set_password(password.expose());
    }
    info = info.set_redis_settings(session);
    if !settings.tls {
        return Client::open(info).map(Some).map_err(|error| refuse("data.redis", &error));
    }
    let (host, port) = (addr.host().to_owned(), addr.port());
    info = info.set_addr(ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None });
    let file = &settings.ca_file;
    let unusable = |error: &dyn std::fmt::Display| refuse("data.redis.ca_file", &format!("{file}: {error}"));
    let root_cert = if file.is_empty() { None } else { Some(std::fs::read(file).map_err(|error| unusable(&error))?) };
    if root_cert.as_ref().is_some_and(|pem| !String::from_utf8_lossy(pem).contains("BEGIN CERTIFICATE")) {
        return Err(unusable(&"it holds no certificate (PEM)"));
    }
    let client = Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert });
    client.map(Some).map_err(|error| unusable(&error))
}
