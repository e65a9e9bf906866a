//! The order-worker itself, as a process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::time::Duration;

use crate::http::get;
use crate::process::{Process, Spec};
use crate::run_dir::RunDir;
use crate::wait::SOON;
use crate::{ports, wait};

/// What to start.
#[derive(Clone, Debug)]
pub struct WorkerSpec {
    /// How its directory and log are called.
    pub name: String,
    /// `env!("CARGO_BIN_EXE_order-worker")`, or the release build.
    pub binary: PathBuf,
    /// `cron`, `event` or `all`.
    pub mode: String,
    /// DATABASE_URL.
    pub database_url: String,
    /// REDIS_ADDR; none: no streams are looked at.
    pub redis_addr: Option<String>,
    /// DAPR_GRPC_PORT.
    pub dapr_grpc_port: u16,
    /// ORDER_EXTERNALSERVICES_WAREHOUSESERVICE_GRPCENDPOINT.
    pub warehouse_addr: Option<String>,
    /// Where it takes events; a free port unless its sidecar was already told one.
    pub eventbus_port: u16,
    /// Where it shows health and metrics.
    pub admin_port: u16,
    /// More environment, for example `FAILPOINTS` or `ORDER_…`; the later of two equal names counts.
    pub env: Vec<(String, String)>,
    /// More arguments, for example `-conf FILE`.
    pub args: Vec<String>,
}

impl WorkerSpec {
    /// A worker in mode `all` on free ports.
    pub fn new(binary: impl AsRef<Path>, database_url: &str, dapr_grpc_port: u16) -> WorkerSpec {
        WorkerSpec {
            name: "worker".into(),
            binary: binary.as_ref().to_owned(),
            mode: "all".into(),
            database_url: database_url.into(),
            redis_addr: None,
            dapr_grpc_port,
            warehouse_addr: None,
            eventbus_port: ports::free(),
            admin_port: ports::free(),
            env: Vec::new(),
            args: Vec::new(),
        }
    }

    /// The same with one more variable.
    pub fn env(mut self, name: &str, value: impl ToString) -> WorkerSpec {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// Another replica of it: the same but for its ports, which are free ones.
    pub fn replica(&self) -> WorkerSpec {
        WorkerSpec { eventbus_port: ports::free(), admin_port: ports::free(), ..self.clone() }
    }

    fn environment(&self) -> Vec<(String, String)> {
        let mut env = vec![
            ("DATABASE_URL".to_owned(), self.database_url.clone()),
            ("DAPR_GRPC_PORT".to_owned(), self.dapr_grpc_port.to_string()),
            ("ORDER_WORKER_EVENTBUS_ADDR".to_owned(), format!("127.0.0.1:{}", self.eventbus_port)),
            ("ORDER_WORKER_ADMIN_ADDR".to_owned(), format!("127.0.0.1:{}", self.admin_port)),
            // Many workers run at once, and one of them could have its port; who wants it says so.
            ("ORDER_WORKER_CONSOLE_ENABLED".to_owned(), "false".to_owned()),
            ("ORDER_WORKER_BOARD_ENABLED".to_owned(), "false".to_owned()),
        ];
        // A machine that is busy with other tests is no outage.
        env.push(("ORDER_WORKER_DATABASE_ACQUIRETIMEOUT".to_owned(), "30s".to_owned()));
        // No tick comes by itself, at whatever minute a test runs; who wants some gives a schedule.
        for job in ["SESSIONCLEANUP", "CARTCLEANUP", "ORDERCLEANUP", "RESERVATIONCLEANUP", "CODAUTOCONFIRM"] {
            env.push((format!("ORDER_WORKER_CRON_{job}_SCHEDULE"), "0 0 1 1 *".to_owned()));
        }
        match &self.redis_addr {
            Some(addr) => env.push(("REDIS_ADDR".to_owned(), addr.clone())),
            // No stream to look at: the jobs act by the clock.
            None => env.push(("ORDER_WORKER_RECONCILE_ENABLED".to_owned(), "false".to_owned())),
        }
        if let Some(addr) = &self.warehouse_addr {
            env.push(("ORDER_EXTERNALSERVICES_WAREHOUSESERVICE_GRPCENDPOINT".to_owned(), addr.clone()));
        }
        env.extend(self.env.iter().cloned());
        env
    }
}

/// A worker process; killed on drop.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    spec: WorkerSpec,
    _dir: RunDir,
}

impl Worker {
    /// Starts it and waits until `/readyz` answers 200.
    pub async fn start(spec: WorkerSpec) -> Worker {
        let worker = Worker::spawn(spec);
        worker.wait_ready().await;
        worker
    }

    /// Starts it without waiting.
    pub fn spawn(spec: WorkerSpec) -> Worker {
        let dir = RunDir::new(&spec.name);
        let mut args = vec!["-mode".to_owned(), spec.mode.clone()];
        args.extend(spec.args.iter().cloned());
        let mut process = Spec::new(&spec.name, &spec.binary, dir.path(), args);
        process.env = spec.environment();
        Worker { process: Process::spawn(process), spec, _dir: dir }
    }

    /// Waits until `/readyz` answers 200; panics with the log's tail when it ends or takes too long.
    pub async fn wait_ready(&self) {
        let explain = || self.process.log_tail();
        wait::until_or("the worker's /readyz", SOON, explain, async || {
            assert!(self.process.is_running(), "the worker ended\n{}", self.process.log_tail());
            matches!(self.get("/readyz").await, Ok((200, _)))
        })
        .await;
    }

    /// What it was started with.
    pub fn spec(&self) -> &WorkerSpec {
        &self.spec
    }

    /// Where it takes events.
    pub fn eventbus_port(&self) -> u16 {
        self.spec.eventbus_port
    }

    /// Where it shows health and metrics.
    pub fn admin_port(&self) -> u16 {
        self.spec.admin_port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill9(&self) {
        self.process.kill9();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// SIGSTOP.
    pub fn stop(&self) {
        self.process.stop();
    }

    /// SIGCONT.
    pub fn cont(&self) {
        self.process.cont();
    }

    /// Waits for its end, for example after [`terminate`](Worker::terminate) or at a failpoint.
    pub async fn wait_exit(&self, limit: Duration) -> ExitStatus {
        self.process.wait_exit(limit).await
    }

    /// SIGKILL if it still runs, then starts it on the same ports and waits until it is ready.
    pub async fn restart(&self) {
        self.restart_without_waiting();
        self.wait_ready().await;
    }

    /// SIGKILL if it still runs, then starts it on the same ports.
    pub fn restart_without_waiting(&self) {
        self.process.restart();
    }

    /// Changes a variable for the next [`restart`](Worker::restart), or takes it away.
    pub fn set_env(&self, name: &str, value: Option<&str>) {
        self.process.change(|spec| {
            spec.env.retain(|(known, _)| known != name);
            spec.env.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        });
    }

    /// GET of a path on the admin listener: status and body.
    pub async fn get(&self, path: &str) -> Result<(u16, String), String> {
        get(self.spec.admin_port, path).await
    }

    /// `/metrics`, parsed: `name{label="value"}` to its value.
    pub async fn metrics(&self) -> BTreeMap<String, f64> {
        let (status, body) =
            self.get("/metrics").await.unwrap_or_else(|e| panic!("/metrics: {e}\n{}", self.log_tail()));
        assert_eq!(status, 200, "/metrics: {body}");
        parse_metrics(&body)
    }

    /// The sum over all label sets of one metric; 0 when it has none yet.
    pub async fn metric(&self, name: &str) -> f64 {
        let metrics = self.metrics().await;
        metrics.iter().filter(|(key, _)| key.split('{').next() == Some(name)).map(|(_, value)| value).sum()
    }

    /// Everything it logged, over all its lives.
    pub fn logs(&self) -> String {
        self.process.log()
    }

    /// The last lines of its log: for messages.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}

/// Runs the binary to its end with these arguments and variables alone, for example `migrate` or `config check`.
pub async fn run(binary: impl AsRef<Path>, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut spec = Spec::new("order-worker", binary.as_ref(), Path::new("."), args.iter().copied());
    spec.env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    // PR_SET_PDEATHSIG watches the thread that starts the child, which is this one until the child has ended.
    tokio::task::spawn_blocking(move || spec.command().output().expect("cannot run order-worker")).await.unwrap()
}

/// `order-worker migrate` of a database; panics with what it printed when it fails.
pub async fn migrate(binary: impl AsRef<Path>, database_url: &str) {
    let output = run(binary, &["migrate"], &[("DATABASE_URL", database_url)]).await;
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "order-worker migrate: {}\n{printed}", output.status);
}

fn parse_metrics(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(key, value)| Some((key.to_owned(), value.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn metrics_are_read_with_their_labels() {
        let text = "# HELP a b\na_total{topic=\"x y\"} 3\nb 1.5\nc +Inf\n";
        let metrics = super::parse_metrics(text);
        assert_eq!(metrics["a_total{topic=\"x y\"}"], 3.0);
        assert_eq!(metrics["b"], 1.5);
        assert_eq!(metrics.len(), 3);
    }
}
