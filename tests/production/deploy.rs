//! docs/deploy.md from its first line to its last: its commands on a real API server, its SQL on a real Postgres, and between them what
//! kwok does not do: the chart's own commands and environment, run as the kubelet would run them, beside a real sidecar.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use rig::chart::{self, only, rendered, text};
use rig::daprd::{Daprd, DaprdSpec};
use rig::kube::Kube;
use rig::postgres::Postgres;
use rig::redis::Redis;
use rig::run_dir::{RunDir, checkout};
use rig::subscriber::{STATUS_CHANGED, Subscriber};
use rig::wait;
use rig::warehouse::Warehouse;
use rig::worker::{Worker, WorkerSpec, run};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

const PAGE: &str = include_str!("../../docs/deploy.md");
const WORKER: &str = env!("CARGO_BIN_EXE_order-worker");
const LIMIT: Duration = Duration::from_secs(60);

/// The page's blocks of `sh` and `sql`, in its order.
fn blocks() -> Vec<(&'static str, String)> {
    let mut blocks = Vec::new();
    let mut inside = None;
    for line in PAGE.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(kind @ ("sh" | "sql")), None) => {
                inside = Some(kind);
                blocks.push((kind, String::new()));
            }
            (Some(_), None) => inside = Some(""),
            (Some(_), Some(_)) => inside = None,
            (None, Some("sh" | "sql")) => {
                let block = &mut blocks.last_mut().unwrap().1;
                block.push_str(line);
                block.push('\n');
            }
            _ => {}
        }
    }
    blocks
}

/// Finds the block that begins with these words, and takes it.
fn take(blocks: &mut Vec<(&'static str, String)>, kind: &str, begins: &str) -> String {
    assert!(!blocks.is_empty(), "no block is left for {begins}");
    let (found, text) = blocks.remove(0);
    assert!(found == kind && text.starts_with(begins), "the next block is no {kind} that begins with {begins}: {text}");
    text
}

/// What the secret of the namespace holds, by key, with the addresses of this machine.
struct Secret(BTreeMap<String, String>);

impl Secret {
    fn read(kube: &Kube, postgres: &Postgres) -> Secret {
        let data = kube.get("secret/order-service")["data"].clone();
        let data = data.as_object().unwrap().iter().map(|(key, value)| {
            let shell = kube.shell().args(["-c", &format!("echo {value} | base64 -d")]).output().unwrap();
            let address = format!("@127.0.0.1:{}/", postgres.port());
            let value = text(&shell.stdout)
                .replace("@postgres:5432/", &address)
                .replace("sslmode=verify-full", "sslmode=prefer");
            (key.clone(), value)
        });
        Secret(data.collect())
    }

    /// A container's environment: secrets by reference as variables, files in `folder`.
    fn environment(&self, container: &Value, folder: &Path) -> Vec<(String, String)> {
        let variables = container["env"].as_array().unwrap().iter();
        let value = |variable: &Value| {
            let reference = &variable["valueFrom"]["secretKeyRef"];
            match (variable["value"].as_str(), reference["key"].as_str()) {
                (Some(value), _) => value.replace("/app/secrets", folder.to_str().unwrap()),
                (None, Some(key)) => self.0[key].clone(),
                _ => String::new(),
            }
        };
        variables.map(|variable| (variable["name"].as_str().unwrap().to_owned(), value(variable))).collect()
    }

    /// Writes the files of a projected volume as the kubelet does: links through a link, which alone is exchanged for a new generation.
    fn mount(&self, volume: &Value, folder: &Path, generation: &str) {
        let files = folder.join(generation);
        std::fs::create_dir_all(&files).unwrap();
        for source in volume["projected"]["sources"].as_array().unwrap() {
            for item in source["secret"]["items"].as_array().unwrap() {
                let (key, path) = (item["key"].as_str().unwrap(), item["path"].as_str().unwrap());
                std::fs::write(files.join(path), &self.0[key]).unwrap();
                let _ = symlink(Path::new("..data").join(path), folder.join(path));
            }
        }
        symlink(generation, folder.join("..data_tmp")).unwrap();
        std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    }
}

/// Runs the only container of a Job, as the kubelet would: its arguments, and what it printed. Code 0 or not.
async fn job(object: &Value, secret: &Secret, folder: &Path) -> (bool, String) {
    let container = &object["spec"]["template"]["spec"]["containers"][0];
    let command: Vec<&str> =
        container["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(command[0], "/app/bin/worker");
    let env = secret.environment(container, folder);
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let output = run(WORKER, &command[1..], &env).await;
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_leads_from_nothing_to_the_first_event() {
    let kube = Kube::shared().await;
    let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
    let warehouse = Warehouse::start();
    let dir = RunDir::new("deploy");
    symlink(checkout().join("helm").canonicalize().unwrap(), dir.path().join("helm")).unwrap();
    let shell = |block: &str| {
        let output = kube.shell().current_dir(dir.path()).args(["-euc", block]).output().unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success() && !said.contains("PodSecurity"), "{block}\n{said}");
        said
    };
    let sql = async |database: &str, block: &str| {
        let mut connection = PgConnection::connect(&postgres.url(database)).await.unwrap();
        for statement in block.split(';').filter(|statement| !statement.trim().is_empty()) {
            sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
        }
    };
    let mut blocks = blocks();

    sql("postgres", &take(&mut blocks, "sql", "create role orders_owner")).await;
    shell(&take(&mut blocks, "sh", "kubectl create namespace shop"));
    let values = take(&mut blocks, "sh", "cat >values.yaml");
    // The image's name has to be a name.
    shell(&values.replace("REGISTRY", "registry.example"));
    let look = take(&mut blocks, "sh", "kubectl -n shop rollout status");
    let said = shell(&look);
    for resource in
        ["resiliency.dapr.io/order-worker", "component.dapr.io/pubsub-redis", "configuration.dapr.io/order-worker"]
    {
        assert!(said.contains(resource), "{resource}: {said}");
    }

    // What Kubernetes runs in the pods: `migrate` first, of an empty database, by the chart's Job.
    let mut secret = Secret::read(kube, &postgres);
    let hooks = chart::objects(&shell("helm -n shop get hooks order-worker"));
    let hook = |component: &str| {
        let ours = |object: &&Value| {
            object["kind"] == "Job" && object["metadata"]["labels"]["app.kubernetes.io/component"] == component
        };
        hooks.iter().find(ours).unwrap().clone()
    };
    let (done, said) = job(&hook("test"), &secret, dir.path()).await;
    assert!(!done && said.contains("migrate"), "the test of a release finds no schema: {said}");
    let (done, said) = job(&hook("migration"), &secret, dir.path()).await;
    assert!(done, "{said}");
    let (done, said) = job(&hook("test"), &secret, dir.path()).await;
    assert!(done && said.contains("inbox"), "{said}");

    // Then the worker, with the file and the secrets where the pod has them, and a sidecar of the chart's settings.
    let installed = chart::objects(&shell("helm -n shop get manifest order-worker"));
    let pod = &only(&installed, "Deployment")["spec"]["template"]["spec"];
    let config = installed.iter().find_map(|object| object["data"]["config.yaml"].as_str()).unwrap();
    let secrets = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "secrets").unwrap();
    secret.mount(secrets, dir.path(), "..1");
    let mut spec = WorkerSpec::new(WORKER, "", 0);
    spec.env = secret.environment(&pod["containers"][0], dir.path());
    for (name, value) in &mut spec.env {
        match name.as_str() {
            "REDIS_ADDR" => *value = redis.addr(),
            "ORDER_EXTERNALSERVICES_WAREHOUSESERVICE_GRPCENDPOINT" => *value = warehouse.addr(),
            _ => {}
        }
    }
    let command = pod["containers"][0]["command"].to_string();
    assert_eq!(command, r#"["/app/bin/worker","-conf","/app/configs/config.yaml","-mode","all"]"#);
    spec.args = vec!["-conf".to_owned(), dir.write("config.yaml", config).to_string_lossy().into_owned()];
    let sidecar = DaprdSpec {
        app_port: Some(spec.eventbus_port),
        app_health: true,
        ..DaprdSpec::new("order-worker", &redis.addr())
    };
    // The publisher is anybody's, and speaks HTTP.
    let payments = DaprdSpec { with_config: false, ..DaprdSpec::new("payment-service", &redis.addr()) };
    let addr = redis.addr();
    let (daprd, payments, subscriber) = tokio::join!(
        Daprd::start(sidecar),
        Daprd::start(payments),
        Subscriber::start("fulfillment", &addr, &[STATUS_CHANGED])
    );
    spec.dapr_grpc_port = daprd.grpc_port();
    let worker = Worker::start(spec).await;
    daprd.wait_subscribed("payment.confirmed").await;

    sql("orders", &take(&mut blocks, "sql", "insert into orders")).await;
    let publish = take(&mut blocks, "sh", "curl ");
    shell(&publish.replace("localhost:3500", &format!("127.0.0.1:{}", payments.http_port())));
    wait::until_or("the announcement", LIMIT, || worker.log_tail(), async || subscriber.count() == 1).await;
    let url = &secret.0["database-url"].clone();
    let order = run(WORKER, &["order", "show", "first"], &[("DATABASE_URL", url)]).await;
    assert!(text(&order.stdout).contains("payment_confirmed"), "{}", text(&order.stdout));

    // The secret is exchanged, as for a new password.
    secret.0.insert("database-url".to_owned(), format!("{url}&application_name=exchanged"));
    secret.mount(secrets, dir.path(), "..2");
    let taken = async || worker.logs().contains("A new data.database.source");
    wait::until_or("the new database URL to be taken", LIMIT, || worker.log_tail(), taken).await;

    // What KEDA would ask, as the role that the chart gives it.
    let by_postgres = ["--set", "autoscaling.type=keda", "--set", "autoscaling.keda.trigger=postgresql"];
    let scaled = rendered(&by_postgres.map(str::to_owned));
    let query = only(&scaled, "ScaledObject")["spec"]["triggers"][0]["metadata"]["query"].as_str().unwrap();
    let mut connection = PgConnection::connect(url).await.unwrap();
    let age: f64 = sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await.unwrap();
    assert!((0.0..60.0).contains(&age), "{age}");

    let (said, more) = (take(&mut blocks, "sh", "helm upgrade order-worker"), "autoscaling.type=keda");
    assert!(said.contains(more), "{said}");
    shell(&said);
    for kind in ["podmonitors", "prometheusrules", "scaledobjects"] {
        assert_eq!(kube.get(kind)["items"].as_array().unwrap().len(), 1, "{kind}");
    }
    shell(&take(&mut blocks, "sh", "helm -n shop rollback"));
    let left = kube.everything_in(chart::NAMESPACE);
    assert!(left.contains("secret/order-service"), "{left:?}");
    assert!(left.iter().all(|name| !name.contains("order-worker")), "{left:?}");
    assert!(blocks.is_empty(), "blocks that are not run: {blocks:?}");
}
