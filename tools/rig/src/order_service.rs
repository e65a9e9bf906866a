//! The order API of examples/order-service behind a sidecar of its own, called through it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::daprd::{AppProtocol, Daprd, DaprdSpec};
use crate::http::{call, get};
use crate::process::{Process, Spec};
use crate::run_dir::RunDir;
use crate::wait::SOON;
use crate::{ports, wait};

/// The API and its sidecar; killed on drop.
#[derive(Debug)]
pub struct OrderService {
    daprd: Daprd,
    process: Process,
    port: u16,
    _dir: RunDir,
}

impl OrderService {
    /// Starts both. `worker` is where the worker's binary is: cargo puts examples into a directory beside it.
    pub async fn start(worker: &Path, database_url: &str, redis_addr: &str) -> OrderService {
        let (dir, port) = (RunDir::new("order-service"), ports::free());
        let mut spec = Spec::new("order-service", &binary(worker), dir.path(), [""; 0]);
        spec.env = vec![
            ("DATABASE_URL".to_owned(), database_url.to_owned()),
            ("ORDER_SERVER_HTTP_ADDR".to_owned(), format!("127.0.0.1:{port}")),
        ];
        let process = Process::spawn(spec);
        wait::until_or(
            "the order service",
            SOON,
            || process.log_tail(),
            async || {
                assert!(process.is_running(), "order-service ended\n{}", process.log_tail());
                matches!(get(port, "/healthz").await, Ok((200, _)))
            },
        )
        .await;
        let daprd = Daprd::start(DaprdSpec {
            app_port: Some(port),
            app_protocol: AppProtocol::Http,
            with_config: false,
            ..DaprdSpec::new("order-service", redis_addr)
        })
        .await;
        OrderService { daprd, process, port, _dir: dir }
    }

    /// Its sidecar.
    pub fn daprd(&self) -> &Daprd {
        &self.daprd
    }

    /// Its own port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A request through its sidecar, by service invocation: status, and the answer's JSON (null when there is none).
    pub async fn invoke(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let path = format!("/v1.0/invoke/order-service/method{path}");
        let (status, answer) = call(self.daprd.http_port(), method, &path, &body)
            .await
            .unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.process.log_tail()));
        (status, serde_json::from_str(&answer).unwrap_or(Value::Null))
    }
}

fn binary(worker: &Path) -> PathBuf {
    let binary = worker.parent().unwrap().join("examples/order-service");
    assert!(binary.exists(), "{} is not built: cargo build --example order-service", binary.display());
    binary
}
