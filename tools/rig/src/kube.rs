//! A real Kubernetes control plane: etcd, API server, controller manager and scheduler, with the resource definitions of Dapr, KEDA, the
//! Prometheus operator and Argo CD, and Dapr's injector as a program. kwok plays the kubelet: pods become ready and Jobs succeed (or fail,
//! see [`BROKEN`]) without running anything, so images, probes and the enforcement of network policies are not shown by it.
//! `tools/kube/setup.sh` builds all of them into target/kube.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tokio::sync::OnceCell;

use serde_json::{Value, json};

use crate::process::{Process, Spec};
use crate::run_dir::{RunDir, checkout};
use crate::wait::SOON;
use crate::{chart, ports, wait};

const TOKEN: &str = "rig-admin";

/// The tag of an image whose Jobs fail; all others succeed.
pub const BROKEN: &str = "broken";

/// A cluster of one node; killed on drop, the API server before etcd.
#[derive(Debug)]
pub struct Kube {
    _machinery: Vec<Process>,
    _api: Process,
    _etcd: Process,
    kubeconfig: PathBuf,
    _dir: RunDir,
}

impl Kube {
    /// The cluster that all tests of this process share; started by the first that asks.
    pub async fn shared() -> &'static Kube {
        static SHARED: OnceCell<Kube> = OnceCell::const_new();
        SHARED.get_or_init(Kube::start).await
    }

    /// Starts it and waits until its node is ready and its definitions are known.
    pub async fn start() -> Kube {
        let dir = RunDir::new("kube");
        let etcd = etcd(&dir);
        let keys = service_account_keys(&dir);
        let (api, server) = api(&dir, etcd.1, &keys);
        let kubeconfig = dir.write("kubeconfig", &kubeconfig(&server));
        wait::until_or(
            "the API server",
            SOON,
            || api.log_tail(),
            async || {
                assert!(api.is_running(), "{}", api.log_tail());
                kubectl(&kubeconfig, &["get", "--raw", "/readyz"]).status.success()
            },
        )
        .await;
        let kube =
            Kube { _machinery: machinery(&dir, &kubeconfig, &keys), _api: api, _etcd: etcd.0, kubeconfig, _dir: dir };

        // By the server: what the client would note of the larger ones is more than an annotation may hold.
        kube.kubectl(&["apply", "--server-side", "-f", &in_build("crds")]);
        kube.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
        kube.apply(&node());
        let node = async || kube.get("node/rig")["status"]["conditions"].to_string().contains("KubeletReady");
        wait::until("the node to be ready", SOON, node).await;
        kube
    }

    /// Runs kubectl; panics with what it said when it fails.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let output = kubectl(&self.kubeconfig, args);
        assert!(output.status.success(), "kubectl {args:?}: {}", chart::text(&output.stderr));
        chart::text(&output.stdout)
    }

    /// Runs kubectl with an input; what it said, and whether it went well.
    pub fn kubectl_with(&self, args: &[&str], input: &str) -> (bool, String) {
        let output = fed(command(&self.kubeconfig, args), input);
        (output.status.success(), chart::text(&output.stdout) + &chart::text(&output.stderr))
    }

    /// Applies an object.
    pub fn apply(&self, object: &Value) {
        let (done, said) = self.kubectl_with(&["apply", "-f", "-"], &object.to_string());
        assert!(done, "{said}");
    }

    /// An object as JSON, or a list of them; null when there is none of that name.
    pub fn get(&self, what: &str) -> Value {
        self.get_in(chart::NAMESPACE, what)
    }

    /// The same in another namespace.
    pub fn get_in(&self, namespace: &str, what: &str) -> Value {
        let output = kubectl(&self.kubeconfig, &["get", "-n", namespace, what, "-o", "json", "--ignore-not-found"]);
        assert!(output.status.success(), "kubectl get {what}: {}", chart::text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// A namespace that enforces Pod Security `restricted`, with what the cluster itself puts into each.
    pub async fn restricted_namespace(&self, name: &str) {
        let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted" });
        self.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } }));
        let given = async || {
            let here = |what: &str| !self.get_in(name, what).is_null();
            here("serviceaccount/default") && here("configmap/kube-root-ca.crt")
        };
        wait::until("what each namespace is given", SOON, given).await;
    }

    /// Runs helm on this cluster; what it said, and whether it went well.
    pub fn helm(&self, args: &[&str]) -> (bool, String) {
        let kubeconfig = self.kubeconfig.to_string_lossy();
        let output = chart::helm(args.iter().copied().chain(["--kubeconfig", &kubeconfig]));
        (output.status.success(), chart::text(&output.stdout) + &chart::text(&output.stderr))
    }

    /// Everything that is in a namespace, `kind/name` each, but for what only tells of the past (events) or is made by the cluster itself.
    pub fn everything_in(&self, namespace: &str) -> BTreeSet<String> {
        let kinds = self.kubectl(&["api-resources", "--namespaced", "--verbs=list", "-o", "name"]);
        let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
        let names = self.kubectl(&["get", "-n", namespace, &kinds.join(","), "-o", "name", "--ignore-not-found"]);
        names.lines().map(str::to_owned).collect()
    }

    /// The annotations that Dapr's injector reads.
    pub fn dapr_annotations(&self) -> BTreeSet<String> {
        let output = Command::new(binary("injector")).arg("-annotations").output().unwrap();
        chart::text(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// The pod as JSON with the sidecar that Dapr's injector puts into it.
    pub fn with_sidecar(&self, pod: &Value, args: &[&str]) -> String {
        let mut injector = Command::new(binary("injector"));
        injector.args(args);
        let output = fed(injector, &pod.to_string());
        assert!(output.status.success(), "injector: {}", chart::text(&output.stderr));
        chart::text(&output.stdout)
    }

    /// `kubectl` and `helm` in a shell: a PATH and a KUBECONFIG for it.
    pub fn shell(&self) -> Command {
        let mut shell = Command::new("bash");
        let path = format!("{}:{}:{}", in_build(""), chart::helm_directory().display(), std::env::var("PATH").unwrap());
        shell.env("PATH", path).env("KUBECONFIG", &self.kubeconfig).current_dir(checkout()).stdin(Stdio::null());
        shell
    }
}

fn etcd(dir: &RunDir) -> (Process, u16) {
    let (client, peer) = (ports::free(), ports::free());
    let [client_url, peer_url] = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
    let data = dir.path().join("data").to_string_lossy().into_owned();
    let args = [
        ("--data-dir", &data),
        ("--listen-client-urls", &client_url),
        ("--advertise-client-urls", &client_url),
        ("--listen-peer-urls", &peer_url),
        ("--initial-advertise-peer-urls", &peer_url),
    ];
    let mut args: Vec<String> = args.iter().map(|(flag, value)| format!("{flag}={value}")).collect();
    args.push(format!("--initial-cluster=default={peer_url}"));
    // The data is thrown away.
    args.push("--unsafe-no-fsync".into());
    (Process::spawn(Spec::new("etcd", &binary("server"), dir.path(), args)), client)
}

fn api(dir: &RunDir, etcd: u16, [private, public]: &[String; 2]) -> (Process, String) {
    let port = ports::free();
    let tokens = dir.write("tokens.csv", &format!("{TOKEN},admin,admin,system:masters\n"));
    let certificates = dir.path().join("certificates");
    let args = [
        format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        "--bind-address=127.0.0.1".into(),
        "--advertise-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        // It signs a certificate of its own there.
        format!("--cert-dir={}", certificates.display()),
        "--endpoint-reconciler-type=none".into(),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        format!("--token-auth-file={}", tokens.display()),
        "--authorization-mode=RBAC".into(),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={public}"),
        format!("--service-account-signing-key-file={private}"),
    ];
    let process = Process::spawn(Spec::new("kube-apiserver", &binary("kube-apiserver"), dir.path(), args));
    (process, format!("https://127.0.0.1:{port}"))
}

fn machinery(dir: &RunDir, kubeconfig: &Path, [private, _]: &[String; 2]) -> Vec<Process> {
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    let common = || vec![kubeconfig.clone(), "--bind-address=127.0.0.1".into(), "--leader-elect=false".into()];
    let mut controllers = common();
    controllers.push(format!("--secure-port={}", ports::free()));
    controllers.push(format!("--cert-dir={}", dir.path().join("controllers").display()));
    controllers.push(format!("--service-account-private-key-file={private}"));
    controllers.push(format!("--root-ca-file={}", dir.path().join("certificates/apiserver.crt").display()));
    let mut scheduler = common();
    scheduler.push(format!("--secure-port={}", ports::free()));
    scheduler.push(format!("--cert-dir={}", dir.path().join("scheduler").display()));
    let kwok = vec![
        kubeconfig.clone(),
        format!("--config={}", stages(dir).display()),
        "--manage-all-nodes=true".into(),
        "--node-lease-duration-seconds=40".into(),
        format!("--server-address=127.0.0.1:{}", ports::free()),
    ];
    [("kube-controller-manager", controllers), ("kube-scheduler", scheduler), ("kwok", kwok)]
        .map(|(name, args)| Process::spawn(Spec::new(name, &binary(name), dir.path(), args)))
        .into()
}

/// Of two stages that fit, kwok takes the one with the weight.
const FAILS: &str = r#"
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: { name: pod-fails }
spec:
  weight: 1
  resourceRef: { apiGroup: v1, kind: Pod }
  selector:
    matchExpressions:
      - { key: .metadata.deletionTimestamp, operator: DoesNotExist }
      - { key: .status.phase, operator: In, values: [Running] }
      - { key: '.metadata.ownerReferences.[].kind', operator: In, values: [Job] }
      - { key: '.spec.containers.[].image | endswith(":TAG") | tostring', operator: In, values: ["true"] }
  next:
    statusTemplate: |
      {{ $now := Now }}
      containerStatuses:
      {{ range .spec.containers }}
      - image: {{ .image | Quote }}
        name: {{ .name | Quote }}
        ready: false
        restartCount: 0
        started: false
        state: { terminated: { exitCode: 1, finishedAt: {{ $now | Quote }}, reason: Error, startedAt: {{ $now | Quote }} } }
      {{ end }}
      phase: Failed
"#;

// kwok takes one file: what becomes of nodes and pods.
fn stages(dir: &RunDir) -> PathBuf {
    let folder = PathBuf::from(in_build("stages"));
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut texts: Vec<String> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    texts.push(FAILS.replace("TAG", BROKEN));
    dir.write("stages.yaml", &texts.join("\n---\n"))
}

/// The keys by which tokens of service accounts are signed, and known: two files.
fn service_account_keys(dir: &RunDir) -> [String; 2] {
    let key = rcgen::KeyPair::generate().unwrap();
    [("service-account.key", key.serialize_pem()), ("service-account.pub", key.public_key_pem())]
        .map(|(name, pem)| dir.write(name, &pem).to_string_lossy().into_owned())
}

fn kubeconfig(server: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "rig", "cluster": { "server": server, "insecure-skip-tls-verify": true } }],
        "users": [{ "name": "admin", "user": { "token": TOKEN } }],
        "contexts": [{ "name": "rig", "context": { "cluster": "rig", "user": "admin" } }],
        "current-context": "rig",
    })
    .to_string()
}

fn node() -> Value {
    let resources = json!({ "cpu": "32", "memory": "256Gi", "pods": "110" });
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "rig",
            "labels": { "kubernetes.io/os": "linux", "kubernetes.io/hostname": "rig", "topology.kubernetes.io/zone": "here" },
            "annotations": { "kwok.x-k8s.io/node": "fake" },
        },
        "status": { "allocatable": resources, "capacity": resources },
    })
}

fn command(kubeconfig: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binary("kubectl"));
    command.args(args).arg("--kubeconfig").arg(kubeconfig).stdin(Stdio::null());
    command
}

/// Runs a command that reads all of its input before it says much.
fn fed(mut command: Command, input: &str) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}; run tools/kube/setup.sh"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn kubectl(kubeconfig: &Path, args: &[&str]) -> Output {
    command(kubeconfig, args).output().unwrap_or_else(|e| panic!("cannot run kubectl: {e}; run tools/kube/setup.sh"))
}

fn binary(name: &str) -> PathBuf {
    in_build(name).into()
}

fn in_build(name: &str) -> String {
    checkout().join("target/kube").join(name).to_string_lossy().into_owned()
}
