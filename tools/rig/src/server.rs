//! A gRPC or HTTP server of a stand-in, which can be stopped as if killed and started again on its port.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use tokio::runtime::Runtime;
use tonic::service::Routes;
use tonic::transport::Server as Transport;
use tonic::transport::server::TcpIncoming;

use crate::ports;

/// Serves in a runtime of its own: it outlives the test's runtime when shared, answers while a test blocks, and stopping it
/// drops every connection and every call in hand, which a graceful shutdown would not.
pub struct Server {
    port: u16,
    routes: Routes,
    runtime: Mutex<Option<Runtime>>,
}

impl Server {
    /// Serves the routes on a free loopback port; it listens when this returns.
    pub fn start(routes: Routes) -> Server {
        Server::start_on(ports::free(), routes)
    }

    /// Serves the routes on a given loopback port.
    pub fn start_on(port: u16, routes: Routes) -> Server {
        let server = Server { port, routes, runtime: Mutex::new(None) };
        server.start_again();
        server
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, `127.0.0.1:<port>`.
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Drops the listener, every connection and every call in hand; returns when they are gone.
    pub fn stop(&self) {
        if let Some(runtime) = self.runtime.lock().unwrap().take() {
            // Waits until all is dropped; on a thread of its own, because a runtime may not be waited for inside another.
            let gone = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(5)));
            let _ = gone.join();
        }
    }

    /// Listens on the same port again; nothing if it already does.
    pub fn start_again(&self) {
        let mut slot = self.runtime.lock().unwrap();
        if slot.is_some() {
            return;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("rig-server")
            .enable_all()
            .build()
            .unwrap();
        let incoming = {
            let _entered = runtime.enter();
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
            let incoming = TcpIncoming::bind(addr).unwrap_or_else(|e| panic!("cannot listen on {addr}: {e}"));
            incoming.with_nodelay(Some(true))
        };
        let router = Transport::builder().accept_http1(true).add_routes(self.routes.clone());
        runtime.spawn(async move {
            let _ = router.serve_with_incoming(incoming).await;
        });
        *slot = Some(runtime);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("port", &self.port).finish_non_exhaustive()
    }
}
