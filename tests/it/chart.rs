//! The chart as helm renders it: its shapes, what it refuses, and that it says what the rest of the project says. Installed on a real
//! API server it is in tests/production.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use rig::chart::{self, NAMESPACE, SHAPES, only, rendered, template, text, values};
use rig::worker::run;
use serde_json::{Value, json};
use sqlx::Row;

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
    let refusals: [(&[&str], &[&str]); 40] = [
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
        (&["worker.replicas=3"], &["worker", "replicas"]),
        (&["monitoring.rules.runbookUrl=docs/runbook.md"], &["monitoring/rules/runbookUrl"]),
        (&["podSecurityContext=none"], &["podSecurityContext"]),
        // A heading with nothing under it takes all its defaults away.
        (&["probes=null"], &["missing property 'probes'"]),
        (&["networkPolicy.egress.redis=null"], &["at '/networkPolicy/egress'", "missing property 'redis'"]),
        (&["database.secret=null"], &["at '/database'", "missing property 'secret'"]),
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
        (&["monitoring.rules.enabled=true"], &["monitoring.rules.runbookUrl is empty", "docs/runbook.md"]),
        (&["worker.args={migrate}"], &["worker.args: migrate", "-conf", "-mode"]),
        (&["worker.args={-conf,/etc/worker.yaml}"], &["worker.args: -conf is /etc/worker.yaml", "`config`"]),
        (&["worker.args={-mode=both}"], &["worker.args: -mode is both", "cron, event, all"]),
        (&["worker.args={-mode}"], &["worker.args: -mode has no value"]),
        (
            &["podAnnotations.dapr\\.io/app-id=another"],
            &["podAnnotations: dapr.io/app-id is \"another\"", "set dapr.appId"],
        ),
        (
            &["worker.podAnnotations.dapr\\.io/app-port=1"],
            &["worker.podAnnotations: dapr.io/app-port is \"1\"", "eventbus.addr"],
        ),
        (
            &["mode=cron", "worker.podAnnotations.dapr\\.io/app-port=5005"],
            &["worker.podAnnotations: dapr.io/app-port", "mode cron"],
        ),
        (&["podLabels.app\\.kubernetes\\.io/name=another"], &["podLabels: app.kubernetes.io/name", "leave it out"]),
        (&["extraEnv[0].name=DATABASE_URL"], &["extraEnv: DATABASE_URL", "database.secret"]),
        (&["extraVolumes[0].name=config"], &["extraVolumes: config"]),
        (
            &["config.worker.console.session_key=hunter2"],
            &["config.worker.console.session_key is a secret", "console.sessionKey.secret"],
        ),
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
                _ => "a-secret-that-nobody-can-guess-and-long".to_owned(),
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
                ("worker.console.session_key", "ORDER_WORKER_CONSOLE_SESSIONKEY_FILE"),
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
    let more = [
        "monitoring.rules.enabled=true",
        "monitoring.rules.runbookUrl=https://runbooks.example",
        "replicaCount=7",
        "audit.enabled=true",
    ];
    assert_eq!(template(&more), before);
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
        let anchor = url.strip_prefix("https://runbooks.example/order-worker#").unwrap();
        assert!(anchors.contains(anchor), "{name}: docs/runbook.md has no section #{anchor}");
        assert!(!alert["expr"].as_str().unwrap().contains("${"), "{name}");
    }
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

/// The pods that the chart makes, by the component that they are.
fn pods(objects: &[Value]) -> Vec<(&str, &Value)> {
    let templates = objects.iter().filter_map(|object| match object["kind"].as_str()? {
        "Deployment" | "Job" => Some(&object["spec"]["template"]),
        "CronJob" => Some(&object["spec"]["jobTemplate"]["spec"]["template"]),
        _ => None,
    });
    templates.map(|pod| (pod["metadata"]["labels"]["app.kubernetes.io/component"].as_str().unwrap(), pod)).collect()
}

fn given(values: &str) -> Vec<Value> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, values.as_bytes()).unwrap();
    rendered(&["-f".to_owned(), file.path().to_string_lossy().into_owned()])
}

/// A mesh that is to be kept out, a cloud's identity, a user that the cluster gives, nodes of one's own: no pod is forgotten.
#[test]
fn what_a_namespace_asks_of_pods_holds_for_every_pod() {
    let objects = given(
        r#"
audit: { enabled: true }
podAnnotations: { sidecar.istio.io/inject: false, linkerd.io/inject: disabled, shop/number: 1234567, dapr.io/volume-mounts: "ca:/ca" }
podLabels: { azure.workload.identity/use: true }
serviceAccount: { create: false, name: shop-identity }
imagePullSecrets: [{ name: registry }]
priorityClassName: orders
nodeSelector: { shop/pool: orders }
tolerations: [{ key: shop/orders, operator: Exists }]
affinity:
  nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] }
  podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [] }
podSecurityContext: { runAsUser: null, runAsGroup: null, fsGroup: null, supplementalGroups: [7] }
securityContext: { readOnlyRootFilesystem: null, runAsUser: 12 }
"#,
    );
    let pods = pods(&objects);
    let components: BTreeSet<&str> = pods.iter().map(|(component, _)| *component).collect();
    assert_eq!(components, ["audit", "migration", "test", "worker"].into());
    for (component, pod) in pods {
        let (labels, annotations) = (&pod["metadata"]["labels"], &pod["metadata"]["annotations"]);
        assert_eq!(annotations["sidecar.istio.io/inject"], "false", "{component}");
        assert_eq!(annotations["linkerd.io/inject"], "disabled", "{component}");
        assert_eq!(annotations["shop/number"], "1234567", "{component}");
        assert_eq!(labels["azure.workload.identity/use"], "true", "{component}");
        let is_worker = component == "worker";
        assert_eq!(annotations["dapr.io/enabled"], is_worker.to_string(), "{component}");
        assert_eq!(annotations["dapr.io/volume-mounts"].is_string(), is_worker, "{component}");
        let spec = &pod["spec"];
        assert_eq!(spec["serviceAccountName"], "shop-identity", "{component}");
        assert_eq!(spec["imagePullSecrets"], json!([{ "name": "registry" }]), "{component}");
        assert_eq!(spec["priorityClassName"], "orders", "{component}");
        assert_eq!(spec["nodeSelector"], json!({ "shop/pool": "orders" }), "{component}");
        assert_eq!(spec["tolerations"][0]["key"], "shop/orders", "{component}");
        assert!(spec["affinity"]["nodeAffinity"].is_object(), "{component}");
        // What keeps workers apart would keep a Job off their nodes.
        assert_eq!(spec["affinity"]["podAntiAffinity"].is_object(), is_worker, "{component}");
        let security =
            json!({ "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" }, "supplementalGroups": [7] });
        assert_eq!(spec["securityContext"], security, "{component}");
        let security =
            json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "runAsUser": 12 });
        assert_eq!(spec["containers"][0]["securityContext"], security, "{component}");
    }
}

/// The migration is a hook: it runs before the release's own service account is there.
#[test]
fn every_pod_has_its_service_account_when_it_starts() {
    let objects =
        given("serviceAccount: { name: orders, annotations: { cloud/identity: 7 } }\naudit: { enabled: true }");
    let account = |name: &str| {
        let of = |object: &&Value| object["kind"] == "ServiceAccount" && object["metadata"]["name"] == name;
        objects.iter().find(of).unwrap()["metadata"]["annotations"].clone()
    };
    for (component, pod) in pods(&objects) {
        let is_hook = component == "migration";
        let name = pod["spec"]["serviceAccountName"].as_str().unwrap();
        assert_eq!(name, if is_hook { "orders-migrate" } else { "orders" }, "{component}");
        assert_eq!(account(name)["cloud/identity"], "7");
        assert_eq!(account(name)["helm.sh/hook"].is_string(), is_hook, "{component}");
    }
}

/// Files of a projected secret are the group's; where the chart does not know the group, everybody's in the pod.
#[test]
fn secret_files_can_be_read_whoever_the_worker_runs_as() {
    let mode = |values: &str| volume(&given(values), "secrets")["projected"]["defaultMode"].clone();
    assert_eq!(mode("secretFiles: true"), 0o440);
    assert_eq!(mode("{ secretFiles: true, podSecurityContext: { fsGroup: null } }"), 0o444);
    assert_eq!(mode("{ secretFiles: true, podSecurityContext: null }"), 0o444);
}

/// `worker.args` and `worker.podAnnotations` as people have them who started the worker by another chart.
#[test]
fn the_workers_arguments_and_annotations_are_taken_as_they_stand_elsewhere() {
    let started = |values: &str| {
        let objects = given(values);
        let pod = only(&objects, "Deployment")["spec"]["template"].clone();
        let mode = pod["spec"]["containers"][0]["command"][4].clone();
        let command = json!(["/app/bin/worker", "-conf", "/app/configs/config.yaml", "-mode", mode]);
        assert_eq!(pod["spec"]["containers"][0]["command"], command);
        (mode, pod["metadata"]["annotations"].clone(), objects)
    };
    let args = [
        r#"["-conf", "/app/configs/config.yaml", "-mode", "event"]"#,
        r#"[/app/bin/worker, --conf, /app/configs/config.yaml, --mode, event]"#,
        r#"["--mode=event"]"#,
        "[-mode, event, -conf=/app/configs/config.yaml]",
    ];
    for args in args {
        assert_eq!(started(&format!("worker: {{ args: {args} }}")).0, "event", "{args}");
    }
    assert_eq!(started("{ mode: cron, worker: { args: [-conf, /app/configs/config.yaml] } }").0, "cron");
    // A worker without events has no port for them, whoever says so.
    let (_, annotations, objects) = started("worker: { args: [-mode, cron] }");
    assert!(annotations["dapr.io/app-port"].is_null());
    assert_eq!(
        only(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["ports"].as_array().unwrap().len(),
        1
    );

    let (_, annotations, objects) = started(
        "podAnnotations: { shop/owner: all }\nworker: { podAnnotations: { dapr.io/enabled: true, dapr.io/app-id: order-worker, \
         dapr.io/app-port: 5005, dapr.io/app-protocol: grpc, dapr.io/log-level: debug, shop/owner: worker } }",
    );
    assert_eq!((&annotations["dapr.io/app-port"], &annotations["dapr.io/enabled"]), (&json!("5005"), &json!("true")));
    assert_eq!((&annotations["dapr.io/log-level"], &annotations["shop/owner"]), (&json!("debug"), &json!("worker")));
    for (component, pod) in pods(&objects).into_iter().filter(|(component, _)| *component != "worker") {
        assert_eq!(
            pod["metadata"]["annotations"],
            json!({ "dapr.io/enabled": "false", "shop/owner": "all" }),
            "{component}"
        );
    }
}

/// The sidecar reads as its app id, and the worker looks at what that group has read.
#[test]
fn the_streams_are_looked_at_as_the_sidecar_reads_them() {
    let group = |values: &str| {
        let objects = given(values);
        let config = objects.iter().find_map(|object| object["data"]["config.yaml"].as_str()).unwrap();
        chart::parse(config)["worker"]["reconcile"]["group"].clone()
    };
    assert_eq!(group("{}"), "order-worker");
    assert_eq!(group("dapr: { appId: payments }"), "payments");
    let consumer = "{ dapr: { appId: payments }, config: { worker: { reconcile: { group: consumers } } } }";
    assert_eq!(group(consumer), "consumers");
}

/// A namespace whose policy wants no limit of CPU, or no seccomp annotation: null leaves a field out, wherever the chart has a default.
#[test]
fn fields_with_a_default_can_be_left_out() {
    let objects = given(
        "resources: { limits: { cpu: null } }\ndapr: { sidecar: { cpuLimit: null, memoryRequest: null } }\n\
         worker: { podAnnotations: { dapr.io/sidecar-seccomp-profile-type: null } }",
    );
    let pod = &only(&objects, "Deployment")["spec"]["template"];
    assert_eq!(pod["spec"]["containers"][0]["resources"]["limits"], json!({ "memory": "256Mi" }));
    // What has no default but being empty may be a heading alone.
    given(
        "worker:\nconfig:\naffinity:\nnodeSelector:\ntolerations:\npodLabels:\npodAnnotations:\nextraEnv:\nimagePullSecrets:\n",
    );
    let annotations = pod["metadata"]["annotations"].as_object().unwrap();
    for name in ["sidecar-cpu-limit", "sidecar-memory-request", "sidecar-seccomp-profile-type"] {
        assert!(!annotations.contains_key(&format!("dapr.io/{name}")), "{annotations:?}");
    }
    assert_eq!(
        (&annotations["dapr.io/sidecar-memory-limit"], &annotations["dapr.io/sidecar-cpu-request"]),
        (&json!("512Mi"), &json!("100m"))
    );
}

/// One form of the version, wherever somebody copies it from.
#[test]
fn the_version_is_written_in_one_form() {
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    assert_eq!(chart::file("helm/order-worker/Chart.yaml")["appVersion"], version);
    let image = only(&rendered(&[]), "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!(image, json!(format!("order-worker:{version}")));
    let docker = chart::read("Dockerfile");
    assert!(
        docker.contains(&format!("order-worker:{version} ")) && docker.contains(&format!("version=\"{version}\"")),
        "{docker}"
    );
    let other: Vec<String> =
        ["README.md", "docs/deploy.md", "docs/upgrade.md", "docs/replacing.md", "docs/runbook.md", "Dockerfile"]
            .into_iter()
            .flat_map(|page| {
                let text = chart::read(page);
                let bare = text.match_indices(env!("CARGO_PKG_VERSION")).filter(|(at, _)| !text[..*at].ends_with('v'));
                bare.map(|(at, _)| {
                    format!("{page}: {}", text[at.saturating_sub(40)..].lines().next().unwrap_or_default())
                })
                .collect::<Vec<_>>()
            })
            .collect();
    assert!(other.is_empty(), "{other:#?}");
}

/// One threshold, two who are asked: from the same rows KEDA gets the same number, whatever its trigger.
#[tokio::test(flavor = "multi_thread")]
async fn both_triggers_of_keda_ask_for_the_same_number() {
    let query = |trigger: &str| {
        let values =
            ["autoscaling.type=keda", "autoscaling.minPending=3", &format!("autoscaling.keda.trigger={trigger}")];
        let trigger = only(&rendered(&set(&values)), "ScaledObject")["spec"]["triggers"][0]["metadata"].clone();
        (
            trigger["query"].as_str().unwrap().to_owned(),
            trigger.get("threshold").or(trigger.get("targetQueryValue")).cloned(),
        )
    };
    let ((by_prometheus, threshold), (by_postgres, target)) = (query("prometheus"), query("postgresql"));
    assert_eq!(threshold, target);

    let desk = crate::commands::Desk::start("keda").await;
    let folder = tempfile::tempdir().unwrap();
    let rows = |queue: &str, state: &str, rows: u32, age: u32| format!("('{queue}', '{state}', {rows}, {age})");
    let cases = [
        (
            "the oldest of a queue that has enough",
            vec![rows("inbox", "ready", 4, 500), rows("dapr", "ready", 3, 70)],
            500.0,
        ),
        ("few and old", vec![rows("warehouse", "ready", 2, 9000), rows("dapr", "ready", 3, 70)], 70.0),
        ("all few", vec![rows("warehouse", "ready", 2, 9000), rows("inbox", "ready", 2, 70)], 0.0),
        ("jobs", vec![rows("cron", "ready", 9, 9000)], 0.0),
        (
            "what waits, and what is behind it",
            vec![rows("dapr", "waiting", 1, 800), rows("dapr", "blocked", 2, 900)],
            800.0,
        ),
        (
            "dead and held",
            vec![rows("inbox", "dead", 5, 900), rows("inbox", "held", 5, 900), rows("inbox", "ready", 2, 60)],
            0.0,
        ),
        ("nothing", vec![], 0.0),
    ];
    let now = "timestamptz '2026-03-01 12:00:00Z'";
    let mut tests = Vec::new();
    for (name, rows, expected) in cases {
        desk.shop.execute("delete from order_worker.pending").await;
        if !rows.is_empty() {
            desk.shop
                .execute(&format!(
                    "insert into order_worker.pending (queue, id, day, lane, key, state, created_at)
                     select queue, nextval('order_worker.journal_id'), order_worker.today(), 0, 'k' || n, state, {now} - age * interval '1 second'
                     from (values {}) given (queue, state, rows, age), generate_series(1, rows) n",
                    rows.join(", ")
                ))
                .await;
        }
        let at = |sql: &str| sqlx::AssertSqlSafe(sql.replace("clock_timestamp()", now));
        let asked: f64 = sqlx::query_scalar(at(&by_postgres)).fetch_one(&desk.shop.pool).await.unwrap();
        assert_eq!(asked, expected, "Postgres: {name}");
        // The metrics' own statement.
        let contents = include_str!("../../src/engine/queue/sql/contents.sql");
        let queues = ["inbox", "dapr", "warehouse", "cron"];
        let contents = sqlx::query(at(contents)).bind(&queues[..]).fetch_all(&desk.shop.pool).await.unwrap();
        let series: Vec<Value> = contents
            .iter()
            .flat_map(|row| {
                let (queue, pending, age): (String, i64, f64) =
                    (row.get("queue"), row.get("pending"), row.get("oldest_age"));
                let labels = format!("{{namespace=\"{NAMESPACE}\", pod=\"a\", queue=\"{queue}\"}}");
                [("queue_pending", pending.to_string()), ("queue_oldest_age_seconds", age.to_string())].map(
                    |(metric, value)| json!({ "series": format!("order_worker_{metric}{labels}"), "values": value }),
                )
            })
            .collect();
        let samples = json!([{ "labels": "{}", "value": expected }]);
        tests.push(json!({ "name": name, "interval": "1m", "input_series": series,
            "promql_expr_test": [{ "expr": by_prometheus, "eval_time": "0m", "exp_samples": samples }] }));
    }
    std::fs::write(folder.path().join("keda.yaml"), json!({ "tests": tests }).to_string()).unwrap();
    promtool(folder.path(), &["test", "rules", "keda.yaml"]);
}

/// The strict gates of a cluster: Pod Security `restricted` by its own words, for every pod that the chart makes.
#[test]
fn every_pod_is_restricted_and_has_no_token() {
    for name in SHAPES {
        let objects = shape(name);
        let mut seen = 0;
        for pod in pods(&objects).into_iter().map(|(_, pod)| &pod["spec"]) {
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
