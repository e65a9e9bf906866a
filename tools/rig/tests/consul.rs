//! The Consul stand-in against Consul's documented API, by Consul's own Go client (tools/consul).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has said what is wrong")]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use rig::consul::{Consul, Fault, RealConsul};
use rig::http;
use rig::process::on_path;
use rig::run_dir::checkout;

/// Builds tools/consul; seconds, and nothing when it is built already.
fn client() -> PathBuf {
    let go = on_path("go").or_else(|| Some(PathBuf::from("/usr/local/go/bin/go")).filter(|go| go.is_file()));
    let go = go.unwrap_or_else(|| panic!("Go is missing; it builds tools/consul. Install it (https://go.dev/dl)."));
    let binary = checkout().join("target/consul/consul-client");
    let sources = checkout().join("tools/consul");
    let built = Command::new(go).args(["build", "-trimpath", "-o"]).arg(&binary).arg(".").current_dir(sources).output();
    let built = built.unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    binary
}

async fn drive(addr: &str) {
    let addr = addr.to_owned();
    let drive = move || -> Output { Command::new(client()).arg(addr).output().unwrap() };
    let output = tokio::task::spawn_blocking(drive).await.unwrap();
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stand_in_is_as_documented_by_consuls_own_client() {
    drive(&Consul::start().addr()).await;
}

/// What the client expects is what a real agent does.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Consul agent: make test-consul"]
async fn a_real_agent_is_as_the_client_expects() {
    drive(&RealConsul::start().await.addr()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stand_in_refuses_wrong_tokens_and_has_the_faults_it_is_told() {
    let consul = Consul::start();
    let get = async || http::get(consul.port(), "/v1/health/service/w?passing=true").await;
    consul.name("w", "127.0.0.1:1");
    assert!(get().await.unwrap().1.contains("grpc://127.0.0.1:1"));
    consul.set(Fault::Garbage);
    assert_eq!(get().await, Ok((200, "<html>502</html>".to_owned())));
    consul.set(Fault::NoLeader);
    assert_eq!(get().await.unwrap().0, 500);
    consul.set(Fault::Flap);
    let flapped = [get().await.unwrap().0, get().await.unwrap().0];
    assert!(flapped.contains(&200) && flapped.contains(&500), "{flapped:?}");
    consul.set(Fault::Huge);
    assert_eq!(get().await.unwrap().1.len(), 64 * 1024 * 1024 + 1);
    consul.set(Fault::Hang);
    let path = "/v1/health/service/w?passing=true";
    assert!(http::within(Duration::from_secs(2), consul.port(), "GET", path, &[], "").await.is_err());
    consul.set(Fault::Backwards);
    let index = async |after: &str| {
        let path = format!("/v1/health/service/w?index={after}&wait=1ms");
        http::exchange(consul.port(), "GET", &path, &[], "").await.unwrap().headers["x-consul-index"]
            .parse::<u64>()
            .unwrap()
    };
    assert!(index("900").await < 900);
    consul.set(Fault::None);
    consul.forget();
    assert_eq!(get().await, Ok((200, "[]".to_owned())));
    consul.require_token("secret");
    assert_eq!(get().await.unwrap().0, 403);
    let with = http::exchange(consul.port(), "GET", "/v1/status/leader", &[("x-consul-token", "secret")], "").await;
    assert_eq!(with.unwrap().status, 200);
    consul.stop();
    assert!(get().await.is_err());
    consul.start_again();
    assert_eq!(get().await.unwrap().0, 403);
}
