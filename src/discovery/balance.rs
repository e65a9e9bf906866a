//! A gRPC connection whose far ends Consul names.

use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;
use tonic::transport::channel::Change;
use tonic::transport::{Channel, Endpoint};

use super::client::Client;
use super::resolver::Resolver;
use super::settings::Consul;
use crate::config::GrpcEndpoint;
use crate::connection::endpoint;
use crate::telemetry::Metrics;

/// Changes that may wait: the channel takes them up with its next call, and none may come for hours. When it is full, the
/// resolver waits for that call too.
const CHANGES: usize = 1024;

/// The service that an endpoint names: the first label of its host. `None` for an address.
#[must_use]
pub fn service_of(endpoint: &GrpcEndpoint) -> Option<&str> {
    let host = endpoint.host();
    host.parse::<std::net::IpAddr>().is_err().then(|| host.split('.').next().unwrap_or(host))
}

/// A connection to the instances of the warehouse, spread over them by their load, and to `fallback` while Consul names nobody.
/// It follows Consul until `keep` is cancelled. A call in flight ends where it began; an instance that is no longer named gets
/// no new ones.
#[must_use]
pub fn balanced(
    client: Client,
    settings: &Consul,
    service: &str,
    fallback: Endpoint,
    metrics: Metrics,
    keep: CancellationToken,
) -> Channel {
    let (channel, changes) = Channel::balance_channel(CHANGES);
    let resolver = Resolver::new(client, service.to_owned(), settings.stale_after);
    let service = service.to_owned();
    tokio::spawn(async move {
        let mut ends = Ends { service, fallback, named: BTreeSet::new(), called: BTreeSet::new(), changes, metrics };
        keep.run_until_cancelled(ends.follow(resolver)).await;
    });
    channel
}

struct Ends {
    service: String,
    fallback: Endpoint,
    named: BTreeSet<String>,
    /// What the channel has; the empty name is the fallback.
    called: BTreeSet<String>,
    changes: tokio::sync::mpsc::Sender<Change<String, Endpoint>>,
    metrics: Metrics,
}

impl Ends {
    async fn follow(&mut self, mut resolver: Resolver) {
        self.change(BTreeSet::new()).await;
        loop {
            let named = resolver.next().await;
            if named != self.named {
                match named.len() {
                    0 => {
                        tracing::warn!("Consul names nobody, the configured endpoint is used: service={}", self.service)
                    }
                    count => tracing::info!("Instances by Consul: service={}, instances={count}", self.service),
                }
                self.change(named).await;
            }
        }
    }

    /// New ends come before old ones go, so that there is never none.
    async fn change(&mut self, named: BTreeSet<String>) {
        self.metrics.warehouse_instances(named.len());
        let wanted = if named.is_empty() { BTreeSet::from([String::new()]) } else { named.clone() };
        let mut changes = Vec::new();
        for new in wanted.difference(&self.called) {
            let end = if new.is_empty() { Ok(self.fallback.clone()) } else { endpoint(format!("http://{new}")) };
            match end {
                Ok(end) => changes.push(Change::Insert(new.clone(), end)),
                Err(error) => tracing::warn!("An instance cannot be called: service={}, error={error}", self.service),
            }
        }
        changes.extend(self.called.difference(&wanted).map(|old| Change::Remove(old.clone())));
        for change in changes {
            // The channel is gone when the worker is: nobody is left to be told.
            let _ = self.changes.send(change).await;
        }
        (self.named, self.called) = (named, wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_the_first_label_of_a_host() {
        for (endpoint, service) in [
            ("warehouse-service:81", Some("warehouse-service")),
            ("http://warehouse-service.shop.svc.cluster.local:81", Some("warehouse-service")),
            ("10.0.0.1:81", None),
            ("[fd00::1]:81", None),
        ] {
            assert_eq!(service_of(&GrpcEndpoint::try_from(endpoint.to_owned()).unwrap()), service);
        }
    }
}
