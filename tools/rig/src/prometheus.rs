//! A real Prometheus, of Debian's package: it scrapes each second and keeps what it saw until it is dropped.

use serde_json::{Value, json};

use crate::http::get;
use crate::process::{Process, Spec, on_path};
use crate::run_dir::RunDir;
use crate::wait::SOON;
use crate::{ports, wait};

/// What is scraped.
#[derive(Clone, Debug)]
pub struct Target {
    /// The path of its metrics.
    pub path: String,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// The labels that a PodMonitor would give it: `job`, `namespace`, `pod`.
    pub labels: Vec<(&'static str, String)>,
    /// Whether its own labels count where both have one of the same name.
    pub honor_labels: bool,
}

/// A server; killed on drop.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    port: u16,
    _dir: RunDir,
}

impl Prometheus {
    /// Starts it with these rules (as a rule file has them, JSON is YAML), evaluated each second, and waits until it is ready.
    pub async fn start(targets: &[Target], rules: &Value) -> Prometheus {
        let dir = RunDir::new("prometheus");
        dir.write("rules.yaml", &rules.to_string());
        let scrape = targets.iter().enumerate().map(|(n, target)| {
            let labels: serde_json::Map<String, Value> =
                target.labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            json!({
                "job_name": format!("target-{n}"),
                "metrics_path": target.path,
                "honor_labels": target.honor_labels,
                "static_configs": [{ "targets": [format!("127.0.0.1:{}", target.port)], "labels": labels }],
            })
        });
        let config = json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s" },
            "rule_files": ["rules.yaml"],
            "scrape_configs": scrape.collect::<Vec<_>>(),
        });
        dir.write("prometheus.yaml", &config.to_string());
        let port = ports::free();
        let args = [
            "--config.file=prometheus.yaml".to_owned(),
            "--storage.tsdb.path=data".to_owned(),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let program = on_path("prometheus").expect("no prometheus: run `make setup`");
        let process = Process::spawn(Spec::new("prometheus", &program, dir.path(), args));
        wait::until_or(
            "prometheus",
            SOON,
            || process.log_tail(),
            async || {
                assert!(process.is_running(), "{}", process.log_tail());
                matches!(get(port, "/-/ready").await, Ok((200, _)))
            },
        )
        .await;
        Prometheus { process, port, _dir: dir }
    }

    /// What an expression comes to now: each series' labels and number; an error for one that is not understood.
    pub async fn query(&self, expression: &str) -> Result<Vec<(Value, f64)>, String> {
        let answer = self.api(&format!("query?query={}", encoded(expression))).await;
        if answer["status"] != "success" {
            return Err(answer["error"].to_string());
        }
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let number = |one: &Value| one["value"][1].as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
        Ok(series.iter().map(|one| (one["metric"].clone(), number(one))).collect())
    }

    /// All rules as `/api/v1/rules` shows them: `name`, `health`, `lastError`, `state`.
    pub async fn rules(&self) -> Vec<Value> {
        let answer = self.api("rules").await;
        let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect()
    }

    async fn api(&self, path: &str) -> Value {
        let answer = get(self.port, &format!("/api/v1/{path}")).await;
        let (_, body) = answer.unwrap_or_else(|e| panic!("{path}: {e}\n{}", self.process.log_tail()));
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))
    }
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
