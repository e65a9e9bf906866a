//! The worker as a process, tried on a stand-in that only answers HTTP.

use rig::run_dir::RunDir;
use rig::wait::SOON;
use rig::worker::{Worker, WorkerSpec, migrate};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

/// A script that starts this very test program again, as `stand_in`.
fn binary(dir: &RunDir) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\necho \"args: $*\"\nexport STAND_IN=1\nexec {} --exact stand_in --nocapture\n",
        program.display()
    );
    let path = dir.write("order-worker", &script);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// What the script runs; a test that does nothing otherwise.
#[test]
fn stand_in() {
    if std::env::var_os("STAND_IN").is_none() {
        return;
    }
    let Ok(addr) = std::env::var("ORDER_WORKER_ADMIN_ADDR") else {
        return;
    };
    println!("GREETING={:?}", std::env::var("GREETING"));
    for stream in TcpListener::bind(addr).unwrap().incoming() {
        let mut stream = stream.unwrap();
        let mut request = [0; 1024];
        let read = stream.read(&mut request).unwrap();
        let body = match request[..read].starts_with(b"GET /metrics") {
            true => "consumed_total{topic=\"a\"} 3\nconsumed_total{topic=\"b\"} 4\nother 1\n",
            false => "ready",
        };
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).unwrap();
    }
}

#[tokio::test]
async fn a_worker_is_started_read_killed_and_started_again() {
    let dir = RunDir::new("worker-binary");
    let spec = WorkerSpec::new(binary(&dir), "postgres://nowhere/db", 1).env("GREETING", "hello");
    let worker = Worker::start(spec).await;
    assert_eq!(worker.get("/healthz").await.unwrap(), (200, "ready".to_owned()));
    assert_eq!(worker.metric("consumed_total").await, 7.0);
    assert_eq!(worker.metric("absent").await, 0.0);
    assert!(worker.logs().contains("args: -mode all"), "{}", worker.logs());
    assert!(worker.logs().contains("GREETING=Ok(\"hello\")"), "{}", worker.logs());

    worker.terminate();
    assert_eq!(worker.wait_exit(SOON).await.signal(), Some(15));
    worker.set_env("GREETING", Some("again"));
    worker.restart().await;
    assert!(worker.logs().contains("GREETING=Ok(\"again\")"), "{}", worker.logs());
    worker.kill9();
    assert!(!worker.is_running());

    let replica = worker.spec().replica();
    assert_ne!(replica.admin_port, worker.admin_port());
    migrate(binary(&dir), "postgres://nowhere/db").await;
}
