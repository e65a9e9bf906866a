//! A stand-in of a Consul agent (HTTP API v1): agent services and checks, health queries that block, tokens, and faults.
//!
//! It keeps to the documented API, which `tools/rig/tests/consul.rs` holds it to with Consul's own Go client: checks expire and
//! are dialled, a query with an index waits for a change of its service, an id that is not known is answered 404.

mod api;
mod catalog;
mod real;

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::server::Server;
use catalog::Catalog;
pub use real::RealConsul;

/// How often checks are looked at.
const TICK: Duration = Duration::from_millis(50);

/// What becomes of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered as documented.
    None,
    /// Every second call is answered 500.
    Flap,
    /// As a cluster without a leader: 500.
    NoLeader,
    /// 200 and a page of HTML.
    Garbage,
    /// 200 and 64 MiB of a list that never ends.
    Huge,
    /// Never answered.
    Hang,
    /// Answered after this time.
    Slow(Duration),
    /// The index of each answer is below the one before.
    Backwards,
}

/// The stand-in and its book.
#[derive(Debug)]
pub struct Consul {
    server: Server,
    agent: Arc<Agent>,
}

/// What its calls share.
#[derive(Debug)]
struct Agent {
    catalog: Mutex<Catalog>,
    changed: watch::Sender<()>,
    fault: Mutex<Fault>,
    token: Mutex<Option<String>>,
    calls: Mutex<Vec<String>>,
}

impl Consul {
    /// Starts an agent that knows nobody, on a free loopback port.
    pub fn start() -> Consul {
        let agent = Arc::new(Agent {
            catalog: Mutex::default(),
            changed: watch::channel(()).0,
            fault: Mutex::new(Fault::None),
            token: Mutex::default(),
            calls: Mutex::default(),
        });
        watch_checks(Arc::downgrade(&agent));
        let server = Server::start(api::router(Arc::clone(&agent)).into());
        Consul { server, agent }
    }

    /// `127.0.0.1:<port>`, as CONSUL_ADDR wants it.
    pub fn addr(&self) -> String {
        self.server.addr()
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// What becomes of calls from now on. Calls that wait already go on waiting.
    pub fn set(&self, fault: Fault) {
        *self.agent.fault.lock().unwrap() = fault;
    }

    /// From now on calls without this token are answered 403.
    pub fn require_token(&self, token: &str) {
        *self.agent.token.lock().unwrap() = Some(token.to_owned());
    }

    /// Goes away: connections are dropped, new ones refused.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Comes back on the same port.
    pub fn start_again(&self) {
        self.server.start_again();
    }

    /// Loses what it knew, its index too, as an agent without a data directory that was started anew.
    pub fn forget(&self) {
        *self.agent.catalog.lock().unwrap() = Catalog::default();
        self.agent.changed.send_replace(());
    }

    /// Registers an instance without checks, as a Kratos service that takes gRPC at `addr` (`127.0.0.1:<port>`).
    pub fn name(&self, service: &str, addr: &str) {
        let (host, port) = addr.rsplit_once(':').unwrap();
        let port: u16 = port.parse().unwrap();
        let body = json!({
            "ID": format!("{service}-{addr}"), "Name": service, "Address": host, "Port": port,
            "TaggedAddresses": { "grpc": { "Address": format!("grpc://{addr}"), "Port": port } },
        });
        self.agent.catalog.lock().unwrap().register(&body).unwrap();
        self.agent.changed.send_replace(());
    }

    /// Takes an instance back that [`name`](Consul::name) registered.
    pub fn unname(&self, service: &str, addr: &str) {
        assert!(self.agent.catalog.lock().unwrap().deregister(&format!("{service}-{addr}")), "{service} at {addr}");
        self.agent.changed.send_replace(());
    }

    /// The registrations of a service, as they were sent.
    pub fn registered(&self, service: &str) -> Vec<Value> {
        self.agent.catalog.lock().unwrap().registered(service)
    }

    /// The entries of a service all of whose checks pass, as queries answer them.
    pub fn passing(&self, service: &str) -> Vec<Value> {
        self.agent.catalog.lock().unwrap().entries(service, true)
    }

    /// The status of each check of a service by its id.
    pub fn checks(&self, service: &str) -> Vec<(String, String)> {
        self.agent.catalog.lock().unwrap().checks(service)
    }

    /// Every call in order of arrival: method, path and query.
    pub fn calls(&self) -> Vec<String> {
        self.agent.calls.lock().unwrap().clone()
    }
}

/// Expires and dials checks, for as long as there is an agent.
fn watch_checks(agent: Weak<Agent>) {
    std::thread::Builder::new()
        .name("rig-consul".into())
        .spawn(move || {
            while let Some(agent) = agent.upgrade() {
                let due = agent.catalog.lock().unwrap().due();
                let dialled: Vec<_> = due.into_iter().map(|(check, addr)| (check, catalog::dial(&addr))).collect();
                if agent.catalog.lock().unwrap().settle(&dialled) {
                    agent.changed.send_replace(());
                }
                drop(agent);
                std::thread::sleep(TICK);
            }
        })
        .unwrap();
}
