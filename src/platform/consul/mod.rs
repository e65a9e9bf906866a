//! Consul: registration of the worker, and discovery of the warehouse.
//!
//! With `worker.consul.addr` (CONSUL_ADDR) the worker does what the shop's Kratos services do. It registers its gRPC port with
//! a TTL check, which its heartbeat keeps passing, and a TCP check, which the agent dials ([`Registration`]); and it calls the
//! instances that Consul names instead of the configured endpoint ([`balanced`]). Without it nothing here runs.
//!
//! **Consul is never waited for.** Calls go to the configured endpoint until Consul has answered, and whenever it names nobody.
//! When it stops answering, its last list is used for `stale_after`, then the configured endpoint again: addresses of pods are
//! given to others in time. Neither readiness nor the start depends on it, and stopping waits for it two seconds at most.
//!
//! **Who registers.** The modes that open the event port, once it is open. Mode `cron` has nothing that anybody could call, and
//! its TCP check could never pass. The id is made of name, address and port: a container that is started again in its pod
//! replaces its own entry instead of leaving a dead one, and two replicas never have the same.
//!
//! **One agent.** Registrations belong to the agent that took them. Where CONSUL_ADDR names several agents behind one address, a
//! heartbeat may meet one that does not know the worker; it then registers there too, and the other entry becomes critical
//! and is removed by its agent after ten minutes. An agent on each node (CONSUL_ADDR from the pod's host IP) has no such leftovers.
//!
//! **An instance that Consul calls healthy and that does not answer** is ejected for a while: `balancer.rs`.
//!
//! **Whose service.** `warehouse-service:81` is the service `warehouse-service`: the first label of the configured host. An
//! address is no name, and is called as it stands.
//!
//! The API is Consul's documented HTTP API (v1), no more of it than is used: `client.rs`. The numbers are those of Kratos'
//! registry (contrib/registry/consul): TTL 20 s, heartbeat at half of it, TCP every 10 s within 5 s, removed when critical for
//! 600 s, blocking queries of 55 s.

mod balance;
mod balancer;
mod client;
mod instance;
mod registration;
mod resolver;
pub mod settings;

pub use balance::{balanced, service_of};
pub use balancer::Balancer;
pub use client::Client;
pub use registration::Registration;
