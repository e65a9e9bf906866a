//! The worker as a service of Consul's: registered, kept alive, removed.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::client::{Client, ClientError};
use super::settings::Consul;
use crate::platform::backoff;
use crate::platform::settings::ListenAddr;
use crate::platform::telemetry::LogOnce;

/// The limit of the deregistration, when the worker ends.
pub const FAREWELL: Duration = Duration::from_secs(2);

/// The registration of this worker, for as long as it runs.
#[derive(Debug)]
pub struct Registration {
    client: Client,
    settings: Consul,
    /// The host that the event port was opened on, where it was not all of them.
    host: Option<String>,
    port: u16,
}

impl Registration {
    /// Of the event port, which is open: `addr` as configured, `port` as it came out.
    #[must_use]
    pub fn new(client: Client, settings: &Consul, addr: &ListenAddr, port: u16) -> Self {
        Self { client, settings: settings.clone(), host: addr.host().map(str::to_owned), port }
    }

    /// Registers and sends heartbeats until `stop`, then takes the registration back. Whatever Consul does is tried again; it
    /// ends within `FAREWELL` of `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        let mut id = None;
        stop.run_until_cancelled(self.heartbeats(&mut id)).await;
        let Some(id) = id else { return };
        match tokio::time::timeout(FAREWELL, self.client.deregister(&id)).await {
            Ok(Ok(())) => tracing::info!("Deregistered from Consul: id={id}"),
            Ok(Err(ClientError::Refused { status: 404, .. })) => {}
            Ok(Err(error)) => tracing::warn!("Not deregistered, Consul will notice: id={id}, error={error}"),
            Err(_) => tracing::warn!("Not deregistered, Consul will notice: id={id}, error=no answer in {FAREWELL:?}"),
        }
    }

    /// `held` is what Consul may know the worker by, also when the answer to the registration never came.
    async fn heartbeats(&self, held: &mut Option<String>) {
        let half = self.settings.ttl / 2;
        let (mut registered, mut waits, mut trouble) = (false, backoff::exponential(half), LogOnce::default());
        loop {
            let known = held.as_deref().filter(|_| registered);
            let done = match known {
                Some(id) => self.client.pass(&check(id)).await,
                None => self.register(held).await,
            };
            match done {
                Ok(()) => {
                    let recovered = trouble.is_over();
                    if !registered {
                        let id = held.as_deref().unwrap_or_default();
                        tracing::info!("Registered with Consul: service={}, id={id}", self.settings.service_name);
                    } else if recovered {
                        tracing::info!("Consul takes heartbeats again");
                    }
                    (registered, waits) = (true, backoff::exponential(half));
                    tokio::time::sleep(half.mul_f64(0.9 + fastrand::f64() / 10.0)).await;
                }
                // The agent answers and does not know the check: it was started anew, or took the service for dead.
                Err(ClientError::Refused { .. }) if registered => registered = false,
                Err(error) => {
                    if trouble.is_new(error.kind()) {
                        let what = if registered { "takes no heartbeat" } else { "does not register this worker" };
                        tracing::warn!("Consul {what}, it is tried again: error={error}");
                    }
                    tokio::time::sleep(waits.next().unwrap_or(half).min(half)).await;
                }
            }
        }
    }

    async fn register(&self, held: &mut Option<String>) -> Result<(), ClientError> {
        let host = self.reached_at().await.map_err(|error| ClientError::Unreachable(error.to_string()))?;
        let name = &self.settings.service_name;
        let id = held.insert(format!("{name}-{host}-{}", self.port));
        self.client.register(&service(id, name, &host, self.port, self.settings.ttl)).await?;
        self.client.pass(&check(id)).await
    }

    /// The host under which the worker is reached: as told; else where the port was opened; else this machine's address
    /// towards the agent, of which a UDP socket tells without sending anything.
    async fn reached_at(&self) -> std::io::Result<String> {
        if let Some(told) = &self.settings.advertise {
            return Ok(told.as_str().to_owned());
        }
        if let Some(host) = &self.host {
            return Ok(host.clone());
        }
        let Some(agent) = &self.settings.addr else { return Err(std::io::ErrorKind::NotFound.into()) };
        let mut failed = std::io::ErrorKind::NotFound.into();
        for agent in tokio::net::lookup_host(agent.host_and_port()).await? {
            let any: std::net::IpAddr = if agent.is_ipv4() {
                std::net::Ipv4Addr::UNSPECIFIED.into()
            } else {
                std::net::Ipv6Addr::UNSPECIFIED.into()
            };
            let socket = UdpSocket::bind((any, 0)).await?;
            match socket.connect(agent).await {
                Ok(()) => return Ok(socket.local_addr()?.ip().to_string()),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// The id of the TTL check of a service.
fn check(id: &str) -> String {
    format!("service:{id}")
}

/// The body of `PUT /v1/agent/service/register`, with the fields that Kratos sends.
fn service(id: &str, name: &str, host: &str, port: u16, ttl: Duration) -> Value {
    const REMOVED_AFTER: &str = "600s";
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    let addr = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    json!({
        "ID": id,
        "Name": name,
        "Tags": [format!("version={version}")],
        "Meta": { "version": version },
        "Address": host,
        "Port": port,
        "TaggedAddresses": { "grpc": { "Address": format!("grpc://{addr}"), "Port": port } },
        "Checks": [
            { "TCP": addr, "Interval": "10s", "Timeout": "5s", "DeregisterCriticalServiceAfter": REMOVED_AFTER },
            { "CheckID": check(id), "TTL": format!("{}ms", ttl.as_millis()), "DeregisterCriticalServiceAfter": REMOVED_AFTER },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_registers_with_the_fields_of_a_kratos_service() {
        let told = service("order-worker-10.0.0.1-5005", "order-worker", "10.0.0.1", 5005, Duration::from_secs(20));
        let version = concat!("v", env!("CARGO_PKG_VERSION"));
        assert_eq!(told["Tags"], json!([format!("version={version}")]));
        assert_eq!((&told["Address"], &told["Port"]), (&json!("10.0.0.1"), &json!(5005)));
        assert_eq!(told["TaggedAddresses"]["grpc"]["Address"], "grpc://10.0.0.1:5005");
        assert_eq!(told["Checks"][0]["TCP"], "10.0.0.1:5005");
        assert_eq!(told["Checks"][1]["CheckID"], "service:order-worker-10.0.0.1-5005");
        assert_eq!(told["Checks"][1]["TTL"], "20000ms");
        assert_eq!(service("i", "n", "fd00::1", 5005, Duration::from_secs(20))["Checks"][0]["TCP"], "[fd00::1]:5005");
    }
}
