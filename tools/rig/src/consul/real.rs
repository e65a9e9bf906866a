//! A real agent, where there is one: its build takes several minutes, so no test may count on it.

use std::path::PathBuf;
use std::time::Duration;

use crate::process::{Process, Spec, on_path};
use crate::run_dir::RunDir;
use crate::{http, ports, wait};

/// A process of `consul agent -dev`; killed on drop.
#[derive(Debug)]
pub struct RealConsul {
    _process: Process,
    port: u16,
    _dir: RunDir,
}

impl RealConsul {
    /// Starts the binary that CONSUL names, or the one on the path, and waits for its leader; panics where there is none.
    pub async fn start() -> RealConsul {
        let binary = std::env::var_os("CONSUL").map(PathBuf::from).or_else(|| on_path("consul"));
        let binary = binary.unwrap_or_else(|| panic!("no Consul agent: CONSUL names none, and none is on the path"));
        let dir = RunDir::new("consul");
        let port = ports::free();
        let [dns, grpc, lan, wan, server] = [(); 5].map(|()| ports::free());
        let args = [
            "agent -dev -bind=127.0.0.1 -client=127.0.0.1 -grpc-port=-1".to_owned(),
            format!("-http-port={port} -dns-port={dns} -grpc-tls-port={grpc}"),
            format!("-serf-lan-port={lan} -serf-wan-port={wan} -server-port={server}"),
        ];
        let args: Vec<_> = args.iter().flat_map(|some| some.split(' ')).collect();
        let process = Process::spawn(Spec::new("consul", &binary, dir.path(), args));
        // An address in quotes.
        let led = async || matches!(http::get(port, "/v1/status/leader").await, Ok((200, leader)) if leader.len() > 2);
        wait::until_or("a leader", Duration::from_secs(60), || process.log_tail(), led).await;
        RealConsul { _process: process, port, _dir: dir }
    }

    /// Its HTTP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:<port>`, as CONSUL_ADDR wants it.
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
