//! The chart as helm renders it: its shapes, what it refuses, and that it says what the rest of the project says. Installed on a real
//! API server it is in tests/production.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use rig::chart::{self, NAMESPACE, SHAPES, only, rendered, template, text, values};
use rig::worker::run;
use serde_json::{Value, json};

use crate::main_path::WORKER;

fn shape(name: &str) -> Vec<Value> {
    rendered(&values(name))
}

fn set(pairs: &[&str]) -> Vec<String> {
    pairs.iter().flat_map(|pair| ["--set".to_owned(), (*pair).to_owned()]).collect()
}

#[test]
fn lint_finds_nothing() {
    for name in SHAPES {
        let directory = chart::directory().to_string_lossy().into_owned();
        let mut args = ["lint", "--strict", &directory, chart::KUBE_VERSION].map(str::to_owned).to_vec();
        args.extend(values(name));
        let output = chart::helm(args);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success() && !said.contains("[WARNING]"), "{name}: {said}");
    }
}

/// `make snapshots` writes them anew; `git diff` then shows what a change of the chart changes in a cluster.
#[test]
fn what_is_rendered_is_what_was_reviewed() {
    let folder = chart::directory().join("ci/snapshots");
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    for name in SHAPES {
        let path = folder.join(format!("{name}.yaml"));
        let now = without_dashboard(&template(&values(name)).unwrap());
        if update {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &now).unwrap();
        }
        let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = now.lines().zip(reviewed.lines()).position(|(now, then)| now != then);
        let place = differs.unwrap_or_else(|| now.lines().count().min(reviewed.lines().count()));
        assert!(
            now == reviewed,
            "{} differs from line {} on:\n  now  {}\n  then {}\n`make snapshots` writes it anew",
            path.display(),
            place + 1,
            now.lines().nth(place).unwrap_or_default(),
            reviewed.lines().nth(place).unwrap_or_default(),
        );
    }
}

/// The dashboard is rendered as its file is, line by line.
fn without_dashboard(rendered: &str) -> String {
    let mut inside = false;
    let kept = rendered.lines().filter(|line| {
        inside = inside && (line.is_empty() || line.starts_with("    "));
        let keep = !inside;
        inside |= line.trim() == "order-worker.json: |";
        keep
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}

/// Each with what the refusal has to name: the value, and the way out.
#[test]
fn what_cannot_work_is_refused_with_the_value_and_the_way_out() {
    let refusals: [(&[&str], &[&str]); 22] = [
        // By the schema.
        (&["replicaCout=2"], &["replicaCout"]),
        (&["mode=both"], &["mode", "cron", "event", "all"]),
        (&["replicaCount=-1"], &["replicaCount"]),
        (&["redis.addr=redis"], &["redis/addr"]),
        (&["database.secret.name="], &["database/secret/name"]),
        (&["image.digest=latest"], &["image/digest"]),
        (&["dapr.component.processingTimeout=60"], &["processingTimeout"]),
        (&["resources.limits.memory=lots"], &["limits/memory"]),
        (&["monitoring.rules.warehouseSuccessRatio=95"], &["warehouseSuccessRatio"]),
        // By the chart.
        (&["terminationGracePeriodSeconds=30"], &["terminationGracePeriodSeconds is 30", "at least 40"]),
        (&["dapr.shutdown.blockSeconds=20"], &["dapr.shutdown.blockSeconds is 20", "25 s", "at least 28"]),
        (&["config.worker.shutdown.grace=2m"], &["120 s", "at least 123"]),
        (&["dapr.resiliency.maxRetries=200"], &["dapr.resiliency", "dapr.component.processingTimeout (60s)"]),
        (&["console.service.enabled=true"], &["console.service.enabled", "console.users.secret", "hash-password"]),
        (&["config.worker.queue.lese=1s"], &["config.worker.queue.lese is not a key", "lease"]),
        (&["config.workers.mode=all"], &["config.workers is not a key", "worker"]),
        (&["config.worker.queue=fast"], &["config.worker.queue is a section", "lease"]),
        (&["config.data.redis.password=hunter2"], &["config.data.redis.password is a secret", "redis.secret"]),
        (&["config.data.redis.addr=cache:6379"], &["config.data.redis.addr", "set redis.addr"]),
        (&["config.data.redis.tls=true"], &["config.data.redis.tls", "set redis.tls"]),
        (&["dapr.subscription.create=true", "mode=cron"], &["mode is cron", "event or all"]),
        (&["autoscaling.type=hpa", "autoscaling.minReplicas=9"], &["autoscaling.minReplicas (9)"]),
    ];
    for (given, named) in refusals {
        let refusal = template(&set(given)).expect_err(&format!("{given:?} is taken"));
        for name in named {
            assert!(refusal.contains(name), "{given:?}: {name} is not in: {refusal}");
        }
        assert!(!refusal.contains("hunter2"), "{refusal}");
    }
    // A proxy that logs in is a way to know who somebody is.
    rendered(&set(&["console.service.enabled=true", "config.worker.console.user_header=X-Forwarded-User"]));
}

#[test]
fn the_chart_carries_the_configuration_of_the_binary() {
    let path = chart::directory().join("files/config.yaml");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, chart::read("configs/config.yaml")).unwrap();
    }
    let carried = std::fs::read_to_string(&path).unwrap();
    assert_eq!(carried, chart::read("configs/config.yaml"), "`make snapshots` copies configs/config.yaml");
}

/// The container's own command and environment, with files where the secrets would be mounted.
#[tokio::test(flavor = "multi_thread")]
async fn the_worker_takes_what_the_chart_gives_it() {
    let home = tempfile::tempdir().unwrap();
    for name in SHAPES {
        let objects = shape(name);
        let container = &only(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
        let command: Vec<&str> =
            container["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        assert_eq!(command, ["/app/bin/worker", "-conf", "/app/configs/config.yaml", "-mode", "all"]);

        let config = objects.iter().find_map(|object| object["data"]["config.yaml"].as_str()).unwrap();
        let file = home.path().join(name);
        std::fs::write(&file, config).unwrap();
        let secrets = home.path().join("secrets");
        std::fs::create_dir_all(&secrets).unwrap();
        for source in volume(&objects, "secrets")["projected"]["sources"].as_array().into_iter().flatten() {
            let path = source["secret"]["items"][0]["path"].as_str().unwrap();
            let secret = match path {
                "database-url" => "postgres://worker:secret@postgres:5432/orders".to_owned(),
                "order-worker-console-users" => format!("anna:operator:{}", hash()),
                _ => "secret".to_owned(),
            };
            std::fs::write(secrets.join(path), secret).unwrap();
        }
        let value = |variable: &Value| match variable["value"].as_str() {
            Some(value) => value.replace("/app/secrets", secrets.to_str().unwrap()),
            None if variable["name"] == "DATABASE_URL" => {
                let reference =
                    serde_json::json!({ "secretKeyRef": { "name": "order-service", "key": "database-url" } });
                assert_eq!(variable["valueFrom"], reference);
                "postgres://worker:secret@postgres:5432/orders".to_owned()
            }
            // The pod's address.
            None => "10.0.0.7".to_owned(),
        };
        let env = container["env"].as_array().unwrap().iter();
        let env: Vec<(String, String)> =
            env.map(|variable| (variable["name"].as_str().unwrap().to_owned(), value(variable))).collect();
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let output = run(WORKER, &["-conf", file.to_str().unwrap(), "config", "print", "-o", "json"], &env).await;
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        if name == "everything" {
            let printed: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
            let origin = |key: &str| {
                let setting = printed.iter().find(|setting| setting["key"] == key);
                setting.unwrap()["from"].as_str().unwrap().trim_start_matches("environment ").to_owned()
            };
            for (key, variable) in [
                ("data.database.source", "DATABASE_URL_FILE"),
                ("data.redis.password", "ORDER_DATA_REDIS_PASSWORD_FILE"),
                ("data.redis.tls", "ORDER_DATA_REDIS_TLS"),
                ("worker.consul.token", "CONSUL_HTTP_TOKEN_FILE"),
                ("worker.consul.advertise", "POD_IP"),
                ("worker.eventbus.app_token", "APP_API_TOKEN_FILE"),
                ("worker.dapr.api_token", "DAPR_API_TOKEN_FILE"),
                ("worker.console.users", "ORDER_WORKER_CONSOLE_USERS_FILE"),
            ] {
                assert_eq!(origin(key), variable, "{key}");
            }
        }

        // Without an override every value is that of the embedded default, whatever YAML made of it on the way.
        if name == "minimal" {
            let default = run(WORKER, &["config", "print", "-o", "json"], &env).await;
            let settings = |output: &[u8]| -> Vec<(Value, Value)> {
                let all: Vec<Value> = serde_json::from_slice(output).unwrap();
                all.into_iter().map(|setting| (setting["key"].clone(), setting["value"].clone())).collect()
            };
            assert_eq!(settings(&output.stdout), settings(&default.stdout));
        }
    }
}

fn volume<'a>(objects: &'a [Value], name: &str) -> &'a Value {
    let volumes = only(objects, "Deployment")["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
    volumes.iter().find(|volume| volume["name"] == name).unwrap_or(&Value::Null)
}

/// What `order-worker console hash-password` prints for some password.
fn hash() -> String {
    use std::io::Write;
    let mut child = Command::new(WORKER)
        .args(["console", "hash-password"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"correct horse battery staple\n").unwrap();
    text(&child.wait_with_output().unwrap().stdout).trim().to_owned()
}

#[test]
fn the_dapr_resources_are_those_of_the_dapr_folder() {
    let objects = shape("minimal");
    let component = chart::file("dapr/components/pubsub-redis.yaml");
    let mut rendered = only(&objects, "Component").clone();
    assert_eq!(rendered["metadata"]["name"], component["metadata"]["name"]);
    assert_eq!(rendered["spec"].take(), component["spec"]);

    assert_eq!(only(&objects, "Resiliency")["spec"], chart::file("dapr/resiliency.yaml")["spec"]);

    let mut configuration = only(&objects, "Configuration")["spec"].clone();
    assert_eq!(configuration["metrics"].take()["enabled"], true);
    configuration.as_object_mut().unwrap().remove("metrics");
    assert_eq!(configuration, chart::file("dapr/config.yaml")["spec"]);
}

/// Egress to exactly what is needed: the ports of the addresses given, and those that the values add.
#[test]
fn the_network_policy_follows_the_addresses() {
    let ports = |args: &[&str], way: &str, name: &str| -> Vec<Value> {
        let objects = rendered(&set(args));
        let policy =
            objects.iter().find(|object| object["kind"] == "NetworkPolicy" && object["metadata"]["name"] == name);
        let rules = policy.unwrap()["spec"][way].as_array().cloned().unwrap_or_default();
        rules.iter().flat_map(|rule| rule["ports"].as_array().unwrap()).map(|port| port["port"].clone()).collect()
    };
    let worker = "shop-order-worker";
    let least = ["redis.addr=cache:6380", "warehouse.grpcEndpoint=stock:82"];
    let dns_and_postgres = vec![json!(53), json!(53), json!(5432)];
    let sidecar = [6500, 50001, 50005, 50006].map(|port| json!(port));
    let base = [&dns_and_postgres[..], &[json!(6380), json!(9000), json!(82)], &sidecar].concat();
    assert_eq!(ports(&least, "egress", worker), base);
    assert_eq!(ports(&least, "ingress", worker), [json!("admin"), json!(9090)]);

    let otlp = "config.worker.telemetry.otlp_endpoint=http://collector:4318/otlp";
    let more = [&least[..], &["consul.addr=https://consul:8501", otlp]].concat();
    assert_eq!(ports(&more, "egress", worker), [&base[..], &[json!(4318), json!(8501)]].concat());
    assert_eq!(ports(&more, "ingress", worker), [json!("admin"), json!(9090), json!("eventbus")]);

    for name in ["shop-order-worker-migrate", "shop-order-worker-commands"] {
        assert_eq!(ports(&more, "egress", name), dns_and_postgres);
        assert!(ports(&more, "ingress", name).is_empty());
    }
}

#[test]
fn a_changed_configuration_rolls_the_pods_and_nothing_else_does() {
    let template = |args: &[&str]| only(&rendered(&set(args)), "Deployment")["spec"]["template"].clone();
    let before = template(&[]);
    assert_ne!(template(&["config.worker.queue.lease=15s"]), before);
    let overridden = template(&["podAnnotations.dapr\\.io/app-id=another"]);
    assert_eq!(overridden, before, "the chart's own annotations stand");
    assert_eq!(template(&["monitoring.rules.enabled=true", "replicaCount=7", "audit.enabled=true"]), before);
}

/// Promtool checks the rules as the chart renders them, and runs every alert's cases.
#[test]
fn every_alert_fires_when_it_should_and_only_then() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules();
    std::fs::write(folder.path().join("rules.yaml"), rules.to_string()).unwrap();
    promtool(folder.path(), &["check", "rules", "--lint-fatal", "rules.yaml"]);
    let cases: Vec<String> =
        ["alerts.yaml", "alerts-in-days.yaml"].map(|name| chart::read(Path::new("helm/tests").join(name))).into();
    for (name, text) in ["alerts.yaml", "alerts-in-days.yaml"].iter().zip(&cases) {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    promtool(folder.path(), &["test", "rules", "alerts.yaml", "alerts-in-days.yaml"]);

    let cases: Vec<Value> =
        cases.iter().flat_map(|text| chart::parse(text)["tests"].as_array().unwrap().clone()).collect();
    let with_case = |fires: bool| -> BTreeSet<String> {
        let cases = cases.iter().map(|case| &case["promql_expr_test"][0]);
        let wanted =
            cases.filter(|case| case["exp_samples"].as_array().is_some_and(|samples| samples.is_empty() != fires));
        wanted.map(|case| case["expr"].as_str().unwrap().split('"').nth(1).unwrap().to_owned()).collect()
    };
    let names: BTreeSet<String> =
        alerts(&rules).iter().map(|alert| alert["alert"].as_str().unwrap().to_owned()).collect();
    assert_eq!(with_case(true), names, "alerts with a case in which they fire");
    assert_eq!(with_case(false), names, "alerts with a case in which they do not");
}

#[test]
fn every_alert_says_what_how_bad_and_what_to_do() {
    let anchors: BTreeSet<String> = chart::read("docs/runbook.md")
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| {
            let kept = heading.to_lowercase().replace(' ', "-");
            kept.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
        })
        .collect();
    for alert in alerts(&rules()) {
        let name = &alert["alert"];
        assert!(["warning", "critical"].contains(&alert["labels"]["severity"].as_str().unwrap()), "{name}");
        for annotation in ["summary", "description"] {
            assert!(
                alert["annotations"][annotation]
                    .as_str()
                    .is_some_and(|text| text.ends_with('.') && !text.contains("${")),
                "{name}"
            );
        }
        let url = alert["annotations"]["runbook_url"].as_str().unwrap();
        let anchor = url.strip_prefix("docs/runbook.md#").unwrap();
        assert!(anchors.contains(anchor), "{name}: docs/runbook.md has no section #{anchor}");
        assert!(!alert["expr"].as_str().unwrap().contains("${"), "{name}");
    }
    let linked = template(&set(&[
        "monitoring.rules.enabled=true",
        "monitoring.rules.runbookUrl=https://runbooks.example/worker",
    ]))
    .unwrap();
    assert!(linked.contains("https://runbooks.example/worker#a-backlog-grows"));
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let documented = chart::read("docs/metrics.md");
    let asked = rules().to_string() + &chart::read("helm/order-worker/files/dashboard.json");
    let words = asked.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    for metric in words.filter(|word| word.starts_with("order_worker_")) {
        let name = metric.trim_end_matches("_bucket");
        assert!(documented.contains(&format!("| `{name}` |")), "{metric} is not in docs/metrics.md");
    }
}

fn rules() -> Value {
    only(&shape("everything"), "PrometheusRule")["spec"].clone()
}

fn alerts(rules: &Value) -> Vec<Value> {
    let groups = rules["groups"].as_array().unwrap().iter();
    let all = groups.flat_map(|group| group["rules"].as_array().unwrap().clone());
    all.filter(|rule| rule["alert"].is_string()).collect()
}

#[track_caller]
fn promtool(folder: &Path, args: &[&str]) {
    let output = Command::new("promtool").args(args).current_dir(folder).output().expect("promtool, of `make setup`");
    assert!(output.status.success(), "promtool {args:?}: {}{}", text(&output.stdout), text(&output.stderr));
}

/// The strict gates of a cluster: Pod Security `restricted` by its own words, for every pod that the chart makes.
#[test]
fn every_pod_is_restricted_and_has_no_token() {
    for name in SHAPES {
        let objects = shape(name);
        let pods = objects.iter().filter_map(|object| match object["kind"].as_str()? {
            "Deployment" | "Job" => Some(&object["spec"]["template"]["spec"]),
            "CronJob" => Some(&object["spec"]["jobTemplate"]["spec"]["template"]["spec"]),
            _ => None,
        });
        let mut seen = 0;
        for pod in pods {
            seen += 1;
            assert_eq!(pod["automountServiceAccountToken"], false);
            assert_eq!(pod["enableServiceLinks"], false);
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
            assert_eq!(pod["securityContext"]["runAsUser"], 65532);
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
            let container = &pod["containers"][0];
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
            assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
            assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
            assert!(container["resources"]["limits"]["memory"].is_string(), "{container}");
        }
        assert!(seen >= 3, "{name}: {seen} pods");
        // No secret stands in anything that is rendered for this namespace.
        assert!(objects.iter().all(|object| object["kind"] != "Secret"));
        assert!(objects.iter().all(|object| object["metadata"]["namespace"].is_null() || object["metadata"]["namespace"] == NAMESPACE));
    }
}
