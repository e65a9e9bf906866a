//! A gRPC connection whose far ends Consul names.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::balancer::{Balancer, Target};
use super::client::Client;
use super::resolver::Resolver;
use super::settings::Consul;
use crate::platform::connection::connect;
use crate::platform::settings::GrpcEndpoint;

/// The service that an endpoint names: the first label of its host. `None` for an address.
#[must_use]
pub fn service_of(endpoint: &GrpcEndpoint) -> Option<&str> {
    let host = endpoint.host();
    host.parse::<std::net::IpAddr>().is_err().then(|| host.split('.').next().unwrap_or(host))
}

/// A connection to the instances of `service`, balanced over them, and to `fallback` while Consul names nobody; `named` is told how many
/// it names.
/// It follows Consul until `keep` is cancelled. A call in flight ends where it began; an instance that is no longer named gets
/// no new ones.
#[must_use]
pub fn balanced(
    client: Client,
    settings: &Consul,
    service: &str,
    fallback: Channel,
    named: impl Fn(usize) + Send + 'static,
    keep: CancellationToken,
) -> Balancer {
    let fallback = Target::new(String::new(), fallback);
    let called = vec![Arc::clone(&fallback)];
    let balancer = Balancer::over(called.clone());
    let resolver = Resolver::new(client, service.to_owned(), settings.stale_after);
    let (service, followed) = (service.to_owned(), balancer.clone());
    tokio::spawn(async move {
        let tell = Box::new(named);
        let mut targets = Targets { service, fallback, named: BTreeSet::new(), called, followed, tell };
        keep.run_until_cancelled(targets.follow(resolver)).await;
    });
    balancer
}

struct Targets {
    service: String,
    fallback: Arc<Target>,
    named: BTreeSet<String>,
    called: Vec<Arc<Target>>,
    followed: Balancer,
    tell: Box<dyn Fn(usize) + Send>,
}

impl Targets {
    async fn follow(&mut self, mut resolver: Resolver) {
        self.change(BTreeSet::new());
        loop {
            let named = resolver.next().await;
            if named != self.named {
                match named.len() {
                    0 => {
                        tracing::warn!("Consul names nobody, the configured endpoint is used: service={}", self.service)
                    }
                    count => tracing::info!("Instances by Consul: service={}, instances={count}", self.service),
                }
                self.change(named);
            }
        }
    }

    /// Those that stay keep their connection, and what is known of them.
    fn change(&mut self, named: BTreeSet<String>) {
        (self.tell)(named.len());
        let mut called = Vec::new();
        for name in &named {
            let known = self.called.iter().find(|target| target.name() == name).cloned();
            match known.map_or_else(|| connect(format!("http://{name}")).map(|to| Target::new(name.clone(), to)), Ok) {
                Ok(target) => called.push(target),
                Err(error) => tracing::warn!("An instance cannot be called: service={}, error={error}", self.service),
            }
        }
        if called.is_empty() {
            called.push(Arc::clone(&self.fallback));
        }
        self.followed.replace(called.clone());
        (self.named, self.called) = (named, called);
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
