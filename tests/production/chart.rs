//! The chart on a real API server: strict validation, Pod Security, install, upgrade, rollback and removal, Dapr's own sidecar in its
//! pods; and docs/deploy.md, from nothing to the first event.

use std::collections::BTreeSet;
use std::time::Duration;

use rig::authority::Authority;
use rig::chart::{self, SHAPES, only, rendered};
use rig::daprd::{Daprd, DaprdSpec};
use rig::kube::{BROKEN, Kube};
use rig::publisher::{Message, Publisher};
use rig::redis::Redis;
use rig::wait;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

/// Helm, which has to succeed, and the API server has to find nothing unknown in what it gets.
#[track_caller]
fn helm(kube: &Kube, args: &[&str]) -> String {
    let (done, said) = kube.helm(args);
    assert!(done, "helm {args:?}: {said}");
    for complaint in ["unknown field", "would violate PodSecurity", "deprecated"] {
        assert!(!said.contains(complaint), "helm {args:?}: {said}");
    }
    said
}

fn directory() -> String {
    chart::directory().to_string_lossy().into_owned()
}

fn pods(kube: &Kube, namespace: &str, component: &str) -> Vec<Value> {
    let pods = kube.get_in(namespace, "pods")["items"].as_array().cloned().unwrap_or_default();
    let ours = |pod: &Value| pod["metadata"]["labels"]["app.kubernetes.io/component"] == component;
    pods.into_iter().filter(|pod| ours(pod) && pod["metadata"]["deletionTimestamp"].is_null()).collect()
}

/// Helm itself lets unknown fields pass: kubectl does not.
#[track_caller]
fn taken_to_the_letter(kube: &Kube, namespace: &str, values: &[&str], set: &[&str]) {
    let directory = directory();
    let mut args = vec!["template", "shop", &directory, "--namespace", namespace, chart::KUBE_VERSION];
    args.extend(values);
    args.extend(set.iter().flat_map(|pair| ["--set", pair]));
    let (done, yaml) = kube.helm(&args);
    assert!(done, "{args:?}: {yaml}");
    let strict = ["create", "-n", namespace, "--validate=strict", "--dry-run=server", "-f", "-"];
    let (taken, said) = kube.kubectl_with(&strict, &yaml);
    assert!(taken && !said.contains("Warning"), "{args:?}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shape_is_taken_to_the_letter_and_installed_where_only_restricted_pods_may_be() {
    let kube = Kube::shared().await;
    for shape in SHAPES {
        let namespace = format!("shape-{shape}");
        kube.restricted_namespace(&namespace).await;
        let before = kube.everything_in(&namespace);
        let values = chart::values(shape);
        let values: Vec<&str> = values.iter().map(String::as_str).collect();

        taken_to_the_letter(kube, &namespace, &values, &[]);

        let install =
            ["install", "shop", &directory(), "--namespace", &namespace, "--wait", "--timeout=3m"].map(str::to_owned);
        helm(kube, &install.iter().map(String::as_str).chain(values.iter().copied()).collect::<Vec<_>>());
        let workers = pods(kube, &namespace, "worker");
        // Where KEDA decides how many pods there are, and is away, one is made.
        assert_eq!(workers.len(), if shape == "minimal" { 2 } else { 1 }, "{shape}");
        let name = if shape == "everything" { "shop-worker" } else { "shop-order-worker" };
        let volumes =
            kube.get_in(&namespace, &format!("deployment/{name}"))["spec"]["template"]["spec"]["volumes"].clone();
        // The minimal one gives its secret as a variable.
        let mode = volumes.as_array().unwrap().iter().find(|volume| volume["name"] == "secrets");
        let mode = mode.map(|secrets| secrets["projected"]["defaultMode"].clone());
        assert_eq!(mode, (shape != "minimal").then(|| 0o440.into()), "{shape}");
        let endpoints = || kube.get_in(&namespace, "endpointslices").to_string();
        let found = async || endpoints().contains("\"addresses\"") && endpoints().contains("8081");
        wait::until_or("the Service to find its pods", LIMIT, endpoints, found).await;
        helm(kube, &["test", "shop", "--namespace", &namespace, "--timeout=2m"]);
        if shape == "everything" {
            let job = format!("cronjob/{name}-audit");
            kube.kubectl(&["create", "job", "-n", &namespace, &format!("--from={job}"), "now"]);
            kube.kubectl(&["wait", "-n", &namespace, "--for=condition=complete", "job/now", "--timeout=60s"]);
            kube.kubectl(&["delete", "job", "-n", &namespace, "now"]);
        }

        helm(kube, &["uninstall", "shop", "--namespace", &namespace, "--wait"]);
        gone(kube, &namespace, &before).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_shape_has_is_taken_to_the_letter_too() {
    let kube = Kube::shared().await;
    kube.restricted_namespace("variants").await;
    for set in [
        &["autoscaling.type=hpa"][..],
        &["mode=cron", "consul.addr=consul:8500"],
        &[
            "mode=event",
            "serviceAccount.create=false",
            "podDisruptionBudget.enabled=false",
            "topologySpread.enabled=false",
        ],
        &["networkPolicy.enabled=false", "migration.enabled=false", "dapr.resiliency.create=false"],
        &[
            "priorityClassName=system-cluster-critical",
            "dapr.configuration.create=false",
            "dapr.configuration.name=shared",
        ],
    ] {
        taken_to_the_letter(kube, "variants", &[], set);
    }
}

/// Waits until nothing is there but what was before.
async fn gone(kube: &Kube, namespace: &str, before: &BTreeSet<String>) {
    let left = || kube.everything_in(namespace).difference(before).cloned().collect::<Vec<_>>();
    wait::until_or("nothing to be left", LIMIT, || format!("{:?}", left()), async || left().is_empty()).await;
}

/// The version before is this chart under a lower number, with other values: there is no older one yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_up_and_back_and_a_migration_that_fails_changes_nothing() {
    let kube = Kube::shared().await;
    let namespace = "life";
    kube.restricted_namespace(namespace).await;
    let before = kube.everything_in(namespace);
    let packages = tempfile::tempdir().unwrap();
    let folder = packages.path().to_str().unwrap();
    helm(kube, &["package", &directory(), "--version", "0.9.0", "--app-version", "v0.9.0", "-d", folder]);
    let older = format!("{folder}/order-worker-0.9.0.tgz");
    let minimal = chart::values("minimal");
    let release = |verb: &str, chart: &str, set: &[&str]| {
        let mut args = vec![verb, "shop", chart, "--namespace", namespace, "--wait", "--timeout=2m"];
        args.extend(minimal.iter().map(String::as_str));
        args.extend(set.iter().flat_map(|pair| ["--set", pair]));
        kube.helm(&args)
    };
    let template = || kube.get_in(namespace, "deployment/shop-order-worker")["spec"]["template"].clone();
    let images = || -> BTreeSet<String> {
        let images =
            pods(kube, namespace, "worker").into_iter().map(|pod| pod["spec"]["containers"][0]["image"].clone());
        images.map(|image| image.as_str().unwrap().to_owned()).collect()
    };

    let (done, said) = release("install", &older, &[]);
    assert!(done, "{said}");
    let first = template();
    assert_eq!(images(), ["registry.example/order-worker:v0.9.0".to_owned()].into());

    let (done, said) = release("upgrade", &directory(), &["config.worker.queue.lease=15s", "replicaCount=3"]);
    assert!(done && !said.contains("unknown field"), "{said}");
    assert_eq!(images(), ["registry.example/order-worker:v1.0.0".to_owned()].into());
    assert_eq!(pods(kube, namespace, "worker").len(), 3);
    let config = kube.get_in(namespace, "configmap/shop-order-worker")["data"]["config.yaml"].to_string();
    assert!(config.contains("lease: 15s"), "{config}");
    let second = template();
    let checksum = |template: &Value| template["metadata"]["annotations"]["checksum/config"].clone();
    assert_ne!(checksum(&first), checksum(&second));

    let broken = format!("image.tag={BROKEN}");
    let (done, said) = release("upgrade", &directory(), &[&broken, "migration.backoffLimit=0"]);
    assert!(!done && said.contains("pre-upgrade hooks failed"), "{said}");
    assert_eq!(template(), second, "the pods of the release before go on");
    assert_eq!(images(), ["registry.example/order-worker:v1.0.0".to_owned()].into());
    let failed = kube.get_in(namespace, "job/shop-order-worker-migrate");
    assert_eq!(failed["status"]["failed"], 1, "its Job is kept for its log: {failed}");

    helm(kube, &["rollback", "shop", "1", "--namespace", namespace, "--wait", "--timeout=2m"]);
    assert_eq!(template(), first);
    assert_eq!(images(), ["registry.example/order-worker:v0.9.0".to_owned()].into());

    let (done, said) = release("upgrade", &directory(), &[]);
    assert!(done, "{said}");
    helm(kube, &["uninstall", "shop", "--namespace", namespace, "--wait"]);
    gone(kube, namespace, &before).await;
}

/// Dapr's own injector, as a program: what it makes of the chart's pods, and whether the API server lets that in.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_with_its_sidecar_is_restricted_as_well() {
    let kube = Kube::shared().await;
    let namespace = "sidecars";
    kube.restricted_namespace(namespace).await;
    let mut annotations = BTreeSet::new();
    for shape in SHAPES {
        let deployment = only(&rendered(&chart::values(shape)), "Deployment").clone();
        let mut pod = deployment["spec"]["template"].clone();
        pod["metadata"]["name"] = json!(shape);
        pod["metadata"]["namespace"] = json!(namespace);
        pod["spec"]["serviceAccountName"] = json!("default");
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        annotations.extend(pod["metadata"]["annotations"].as_object().unwrap().keys().cloned());

        let strict = ["create", "--validate=strict", "--dry-run=server", "-f", "-"];
        let (taken, said) = kube.kubectl_with(&strict, &kube.with_sidecar(&pod, &["-drop-all-capabilities"]));
        assert!(taken && !said.contains("Warning"), "{shape}: {said}");
        // As docs/deploy.md warns.
        let (taken, said) = kube.kubectl_with(&strict, &kube.with_sidecar(&pod, &[]));
        assert!(
            !taken && said.contains("violates PodSecurity") && said.contains("unrestricted capabilities"),
            "{said}"
        );

        let injected: Value = serde_json::from_str(&kube.with_sidecar(&pod, &["-drop-all-capabilities"])).unwrap();
        let sidecar = &injected["spec"]["containers"][1];
        let args: Vec<&str> = sidecar["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
        let after = |flag: &str| args[args.iter().position(|arg| *arg == flag).unwrap() + 1];
        assert_eq!((after("--app-id"), after("--app-port"), after("--app-protocol")), ("order-worker", "5005", "grpc"));
        // Worker first, then the sidecar, then the kubelet loses patience.
        let seconds = |flag: &str| after(flag).trim_end_matches('s').parse::<i64>().unwrap();
        let both = seconds("--dapr-block-shutdown-duration") + seconds("--dapr-graceful-shutdown-seconds");
        assert!(both < injected["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap());
        // The name by which the PodMonitor finds the sidecar's metrics.
        assert!(sidecar["ports"].to_string().contains("\"dapr-metrics\""), "{sidecar}");
    }
    let known = kube.dapr_annotations();
    for annotation in annotations.iter().filter(|name| name.starts_with("dapr.io/")) {
        assert!(known.contains(annotation), "Dapr knows no annotation {annotation}");
    }
}

/// With the component and the annotation of ci/everything-values.yaml, and not without the annotation.
#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_reaches_a_redis_with_tls_a_user_and_a_ca_of_its_own() {
    let authority = Authority::new();
    let (_redis, port) = Redis::start_tls(&authority, &["localhost"]).await;
    let addr = format!("localhost:{port}");
    let mut args = chart::values("everything");
    args.extend(["--set".to_owned(), format!("redis.addr={addr},redis.username=watcher")]);
    let objects = rendered(&args);

    let mut spec = DaprdSpec::new("order-worker", &addr);
    for one in only(&objects, "Component")["spec"]["metadata"].as_array().unwrap() {
        let name = one["name"].as_str().unwrap();
        let value = one["value"].as_str().unwrap_or("secret");
        if ["enableTLS", "redisUsername", "redisPassword"].contains(&name) {
            spec.metadata.push((name.to_owned(), value.to_owned()));
        }
    }
    assert_eq!(spec.metadata.len(), 3, "{:?}", spec.metadata);
    let refused = Daprd::spawn(spec.clone());
    let reason = async || refused.logs().contains("certificate signed by unknown authority");
    wait::until_or("the refusal", LIMIT, || refused.logs(), reason).await;

    let annotations = &only(&objects, "Deployment")["spec"]["template"]["metadata"]["annotations"];
    let (name, path) = annotations["dapr.io/env"].as_str().unwrap().split_once('=').unwrap();
    assert_eq!(path, "/etc/redis-ca/ca.crt");
    spec.env.push((name.to_owned(), authority.file().to_string_lossy().into_owned()));
    let sidecar = Daprd::start(spec).await;
    let message = Message::new("payment.confirmed", "e1", b"{}".to_vec());
    Publisher::new(sidecar.grpc_port()).publish(&message).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_are_what_their_definitions_say() {
    let kube = Kube::shared().await;
    for namespace in ["argocd", "order-service"] {
        kube.restricted_namespace(namespace).await;
    }
    let strict = |namespace, yaml: &str| {
        kube.kubectl_with(&["create", "-n", namespace, "--validate=strict", "--dry-run=server", "-f", "-"], yaml)
    };
    let (taken, said) = strict("order-service", &chart::read("helm/examples/order-service.yaml"));
    assert!(taken && !said.contains("Warning"), "{said}");
    let argo = chart::read("helm/examples/argocd-application.yaml");
    let (taken, said) = strict("argocd", &argo);
    assert!(taken && !said.contains("Warning"), "{said}");
    // Its values are values of the chart.
    let values = chart::parse(&argo)["spec"]["source"]["helm"]["valuesObject"].to_string();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), values).unwrap();
    rendered(&["-f".to_owned(), file.path().to_string_lossy().into_owned()]);
}
