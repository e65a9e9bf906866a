//! The chart helm/order-worker: helm run on it, and what it renders.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::run_dir::checkout;

/// The namespace and the release's name that everything is rendered for.
pub const NAMESPACE: &str = "shop";
/// The release.
pub const RELEASE: &str = "shop";
/// The Kubernetes that is rendered for without a cluster: helm otherwise takes the one that it was built with, or 1.20.
pub const KUBE_VERSION: &str = "--kube-version=1.37.0";
/// The values files under ci/, by name.
pub const SHAPES: [&str; 3] = ["minimal", "production", "everything"];

/// The chart's directory.
pub fn directory() -> PathBuf {
    checkout().join("helm/order-worker")
}

/// `-f` of a values file of ci/.
pub fn values(shape: &str) -> Vec<String> {
    vec!["-f".into(), directory().join("ci").join(format!("{shape}-values.yaml")).to_string_lossy().into_owned()]
}

/// Runs helm to its end, with a home of its own under target/.
pub fn helm<A: AsRef<str>>(args: impl IntoIterator<Item = A>) -> Output {
    let mut command = Command::new(binary());
    command.args(args.into_iter().map(|arg| arg.as_ref().to_owned()));
    for (variable, place) in [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
    {
        command.env(variable, checkout().join("target/helm/home").join(place));
    }
    command.env_remove("KUBECONFIG").output().unwrap_or_else(|e| panic!("cannot run helm: {e}; run `make setup`"))
}

/// `helm template` of the chart with these arguments; what helm says when it refuses.
pub fn template(args: &[String]) -> Result<String, String> {
    let chart = directory().to_string_lossy().into_owned();
    let mut all = ["template", RELEASE, &chart, "--namespace", NAMESPACE, KUBE_VERSION].map(str::to_owned).to_vec();
    all.extend_from_slice(args);
    let output = helm(all);
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The objects that the chart makes with these arguments.
pub fn rendered(args: &[String]) -> Vec<Value> {
    objects(&template(args).unwrap_or_else(|refusal| panic!("{args:?}: {refusal}")))
}

/// The objects of a text of YAML documents.
pub fn objects(yaml: &str) -> Vec<Value> {
    let documents =
        yaml.split("\n---").filter(|text| text.lines().any(|line| !line.is_empty() && !line.starts_with('#')));
    documents.map(parse).filter(|object| !object.is_null()).collect()
}

/// One text of YAML.
pub fn parse(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml.trim_start_matches("---")).unwrap_or_else(|e| panic!("not YAML: {e}\n{yaml}"))
}

/// A file of the checkout as YAML.
pub fn file(path: impl AsRef<Path>) -> Value {
    parse(&read(path))
}

/// A file of the checkout.
pub fn read(path: impl AsRef<Path>) -> String {
    let path = checkout().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

/// The only object of a kind.
pub fn only<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<_> = objects.iter().filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "objects of kind {kind}");
    found[0]
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where the program `helm` is.
pub(crate) fn helm_directory() -> PathBuf {
    binary()
        .parent()
        .unwrap_or(Path::new(""))
        .canonicalize()
        .unwrap_or_else(|e| panic!("no helm: {e}; run `make setup`"))
}

// The same places in the same order as tools/setup.sh.
fn binary() -> PathBuf {
    match std::env::var_os("HELM").filter(|path| !path.is_empty()) {
        Some(path) => path.into(),
        None => checkout().join("target/helm/helm"),
    }
}
