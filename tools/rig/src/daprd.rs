//! The real sidecar, with the project's own dapr/ files.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use crate::http::get;
use crate::process::{self, Process, Spec};
use crate::run_dir::{RunDir, checkout};
use crate::wait::SOON;
use crate::{ports, wait};

/// The protocol of the app behind a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppProtocol {
    /// gRPC (AppCallback).
    Grpc,
    /// HTTP.
    Http,
}

/// What to start. `DaprdSpec { app_port: Some(port), ..DaprdSpec::new("order-worker", &redis.addr()) }`
#[derive(Clone, Debug)]
pub struct DaprdSpec {
    /// The app id: also the source of what it publishes, and its consumer group.
    pub app_id: String,
    /// Where the app listens, if there is one.
    pub app_port: Option<u16>,
    /// How it is called.
    pub app_protocol: AppProtocol,
    /// The component's redisHost, `127.0.0.1:<port>`.
    pub redis_addr: String,
    /// Whether dapr/components/pubsub-redis.yaml is loaded.
    pub with_component: bool,
    /// Whether dapr/config.yaml is loaded. It allows what the worker calls, over gRPC, and no more: an app that publishes over
    /// HTTP does without it.
    pub with_config: bool,
    /// Whether dapr/resiliency.yaml is loaded.
    pub with_resiliency: bool,
    /// Whether the app's health is probed every 2 s, three failures pausing its subscriptions.
    pub app_health: bool,
    /// Another processingTimeout than the component's, for example `3s`.
    pub processing_timeout: Option<String>,
    /// More metadata of the component, for example `publishingScopes` to `order-worker=`.
    pub metadata: Vec<(String, String)>,
    /// More environment: APP_API_TOKEN, DAPR_API_TOKEN.
    pub env: Vec<(String, String)>,
    /// More flags.
    pub args: Vec<String>,
}

impl DaprdSpec {
    /// A sidecar without an app, with component, configuration and resiliency.
    pub fn new(app_id: &str, redis_addr: &str) -> DaprdSpec {
        DaprdSpec {
            app_id: app_id.into(),
            app_port: None,
            app_protocol: AppProtocol::Grpc,
            redis_addr: redis_addr.into(),
            with_component: true,
            with_config: true,
            with_resiliency: true,
            app_health: false,
            processing_timeout: None,
            metadata: Vec::new(),
            env: Vec::new(),
            args: Vec::new(),
        }
    }
}

/// A sidecar process; killed on drop.
#[derive(Debug)]
pub struct Daprd {
    process: Process,
    spec: Mutex<DaprdSpec>,
    grpc_port: u16,
    http_port: u16,
    dir: RunDir,
}

impl Daprd {
    /// Starts it and waits until it takes publishes (`/v1.0/healthz/outbound`); it dials its app from then on.
    /// It ends at once when its Redis does not answer, as Dapr does.
    pub async fn start(spec: DaprdSpec) -> Daprd {
        let daprd = Daprd::spawn(spec);
        daprd.wait_ready().await;
        daprd
    }

    /// Starts it without waiting.
    pub fn spawn(spec: DaprdSpec) -> Daprd {
        let dir = RunDir::new(&format!("daprd-{}", spec.app_id));
        let (grpc_port, http_port) = (ports::free(), ports::free());
        let mut process = Spec::new("daprd", &binary(), dir.path(), arguments(&spec, dir.path(), grpc_port, http_port));
        process.env = environment(&spec);
        render(&spec, &dir);
        Daprd { process: Process::spawn(process), spec: Mutex::new(spec), grpc_port, http_port, dir }
    }

    /// Waits until it takes publishes; panics with the log's tail when it ends or takes too long.
    pub async fn wait_ready(&self) {
        let what = format!("the sidecar of {} to be ready", self.spec.lock().unwrap().app_id);
        wait::until_or(
            &what,
            SOON,
            || self.process.log_tail(),
            async || {
                assert!(self.process.is_running(), "daprd ended\n{}", self.process.log_tail());
                matches!(get(self.http_port, "/v1.0/healthz/outbound").await, Ok((204, _)))
            },
        )
        .await;
    }

    /// Waits until it has subscribed its app to a topic.
    pub async fn wait_subscribed(&self, topic: &str) {
        let what = format!("a subscription to {topic}");
        wait::until_or(
            &what,
            SOON,
            || self.process.log_tail(),
            async || {
                let subscriptions = self.metadata().await["subscriptions"].clone();
                subscriptions.as_array().is_some_and(|all| all.iter().any(|one| one["topic"] == topic))
            },
        )
        .await;
    }

    /// Its gRPC port, as DAPR_GRPC_PORT wants it.
    pub fn grpc_port(&self) -> u16 {
        self.grpc_port
    }

    /// Its HTTP port, as DAPR_HTTP_PORT wants it.
    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// GET /v1.0/metadata: components, subscriptions; null when it does not answer.
    pub async fn metadata(&self) -> Value {
        match get(self.http_port, "/v1.0/metadata").await {
            Ok((200, body)) => serde_json::from_str(&body).unwrap_or_default(),
            _ => Value::Null,
        }
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill9(&self) {
        self.process.kill9();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// Waits for its end, after [`terminate`](Daprd::terminate).
    pub async fn wait_exit(&self, limit: Duration) {
        self.process.wait_exit(limit).await;
    }

    /// SIGSTOP.
    pub fn stop(&self) {
        self.process.stop();
    }

    /// SIGCONT.
    pub fn cont(&self) {
        self.process.cont();
    }

    /// SIGKILL if it still runs, then starts it on the same ports and waits until it is ready.
    pub async fn restart(&self) {
        self.restart_with(|_| ()).await;
    }

    /// As [`restart`](Daprd::restart) with something changed: the component gone or back, a scope refused.
    pub async fn restart_with(&self, change: impl FnOnce(&mut DaprdSpec)) {
        self.process.kill9();
        let spec = {
            let mut spec = self.spec.lock().unwrap();
            change(&mut spec);
            spec.clone()
        };
        render(&spec, &self.dir);
        self.process.change(|process| {
            process.args =
                arguments(&spec, self.dir.path(), self.grpc_port, self.http_port).into_iter().map(Into::into).collect();
            process.env = environment(&spec);
        });
        self.process.restart();
        self.wait_ready().await;
    }

    /// Everything it logged, over all its lives.
    pub fn logs(&self) -> String {
        self.process.log()
    }
}

// Without a network card daprd finds no address of its own and ends.
fn environment(spec: &DaprdSpec) -> Vec<(String, String)> {
    let mut env = vec![("DAPR_HOST_IP".to_owned(), "127.0.0.1".to_owned())];
    env.extend(spec.env.iter().cloned());
    env
}

fn arguments(spec: &DaprdSpec, dir: &Path, grpc_port: u16, http_port: u16) -> Vec<String> {
    let config = checkout().join("dapr/config.yaml");
    let mut args: Vec<String> =
        ["--mode", "standalone", "--app-id", &spec.app_id, "--enable-metrics=false"].map(str::to_owned).into();
    let mut flag = |name: &str, value: String| args.extend([name.to_owned(), value]);
    flag("--resources-path", dir.join("resources").to_string_lossy().into_owned());
    if spec.with_config {
        flag("--config", config.to_string_lossy().into_owned());
    }
    flag("--dapr-grpc-port", grpc_port.to_string());
    flag("--dapr-http-port", http_port.to_string());
    flag("--dapr-internal-grpc-port", ports::free().to_string());
    // Loopback only: name resolution (mDNS) then announces 127.0.0.1 and asks nothing of the network.
    flag("--dapr-listen-addresses", "127.0.0.1".into());
    flag("--dapr-internal-grpc-listen-address", "127.0.0.1".into());
    if let Some(port) = spec.app_port {
        flag("--app-port", port.to_string());
        flag(
            "--app-protocol",
            match spec.app_protocol {
                AppProtocol::Grpc => "grpc",
                AppProtocol::Http => "http",
            }
            .into(),
        );
    }
    if spec.app_health {
        flag("--app-health-probe-interval", "2".into());
        flag("--app-health-threshold", "3".into());
        args.push("--enable-app-health-check".into());
    }
    args.extend(spec.args.iter().cloned());
    args
}

// Copies of the project's files: the Redis address differs, and what a test asked for.
fn render(spec: &DaprdSpec, dir: &RunDir) {
    let resources = dir.path().join("resources");
    let _ = std::fs::remove_dir_all(&resources);
    std::fs::create_dir_all(&resources).unwrap();
    if spec.with_component {
        let mut component = read("dapr/components/pubsub-redis.yaml");
        component = with_value(&component, "redisHost", &spec.redis_addr);
        if let Some(timeout) = &spec.processing_timeout {
            component = with_value(&component, "processingTimeout", timeout);
        }
        for (name, value) in &spec.metadata {
            component = component.replacen(
                "  metadata:\n",
                &format!("  metadata:\n    - name: {name}\n      value: \"{value}\"\n"),
                1,
            );
        }
        dir.write("resources/pubsub-redis.yaml", &component);
    }
    if spec.with_resiliency {
        dir.write("resources/resiliency.yaml", &read("dapr/resiliency.yaml"));
    }
}

fn read(path: &str) -> String {
    let path = checkout().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

// The line after `- name: <name>` is the only one that differs.
fn with_value(component: &str, name: &str, value: &str) -> String {
    let mut lines: Vec<String> = component.lines().map(str::to_owned).collect();
    let place = lines
        .iter()
        .position(|line| line.trim() == format!("- name: {name}"))
        .unwrap_or_else(|| panic!("no {name} in the component"));
    assert!(lines[place + 1].trim().starts_with("value:"), "no value follows {name} in the component");
    lines[place + 1] = format!("      value: \"{value}\"");
    lines.join("\n") + "\n"
}

// The same places in the same order as tools/setup.sh.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("DAPRD").filter(|path| !path.is_empty()) {
        return path.into();
    }
    let built = checkout().join("target/daprd/daprd");
    process::on_path("daprd")
        .or_else(|| built.is_file().then_some(built))
        .expect("no daprd ($DAPRD, PATH, target/daprd/daprd): run `make setup`")
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_the_line_of_the_address_differs() {
        let shipped = super::read("dapr/components/pubsub-redis.yaml");
        let rendered = super::with_value(&shipped, "redisHost", "127.0.0.1:1");
        let differing = shipped.lines().zip(rendered.lines()).filter(|(a, b)| a != b).count();
        assert_eq!((differing, shipped.lines().count()), (1, rendered.lines().count()));
    }
}
