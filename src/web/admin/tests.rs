//! The listener over real sockets, with clients that behave and clients that do not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Reporter;
use super::connections::{self, Limits};
use super::router::router;
use super::*;
use crate::platform::health::Condition;

struct Served {
    addr: SocketAddr,
    health: Reporter,
    metrics: Metrics,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

async fn served(limits: Limits, subscriptions: Subscriptions) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (reporter, health) = Health::unknown();
    let metrics = Metrics::new().unwrap();
    let state = State { health, metrics: metrics.clone(), subscriptions };
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(connections::serve(listener, router(state), limits, shutdown.clone()));
    Served { addr, health: reporter, metrics, shutdown, task }
}

async fn default() -> Served {
    let subscriptions = Subscriptions::to("pubsub-redis", &["payment.confirmed", "payment.failed"]);
    served(Limits::default(), subscriptions).await
}

impl Served {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends `bytes` and reads until the listener closes.
    fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // The listener may have refused, and closed, before everything was sent.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn ask(&self, method: &str, path: &str) -> Answer {
        let text = self.send(format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes());
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        Answer { status: head[9..12].parse().unwrap(), head: head.to_lowercase(), body: body.to_owned() }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path)
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn has(&self, header: &str) -> bool {
        self.head.lines().any(|line| line == header)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_the_users_to_the_byte() {
    let answer = default().await.get("/dapr/subscribe");
    assert_eq!(answer.status, 200);
    assert!(answer.has("content-type: application/json"), "{}", answer.head);
    assert_eq!(
        answer.body,
        r#"[{"pubsubname":"pubsub-redis","topic":"payment.confirmed","route":"/payment.confirmed"},{"pubsubname":"pubsub-redis","topic":"payment.failed","route":"/payment.failed"}]"#
    );
    let cron = served(Limits::default(), Subscriptions::none()).await;
    assert_eq!(cron.get("/dapr/subscribe").body, "[]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_follows_each_part_and_liveness_none() {
    let served = default().await;
    let health = &served.health;
    assert_eq!(served.get("/readyz").status, 503, "nobody has looked yet");

    for part in [&health.worker, &health.database, &health.schema, &health.sidecar] {
        part.send_replace(Condition::good("fine"));
    }
    let answer = served.get("/readyz");
    assert_eq!(answer.status, 200, "ready although Redis is not known");
    let fine = json!({"ok": true, "detail": "fine"});
    assert_eq!(answer.json(), json!({"worker": fine, "database": fine, "schema": fine, "sidecar": fine}));
    assert!(answer.has("content-type: application/json") && answer.has("cache-control: no-store"));

    for part in [&health.worker, &health.database, &health.schema, &health.sidecar] {
        part.send_replace(Condition::bad("\"away\"\n"));
        assert_eq!(served.get("/readyz").status, 503);
        let answer = served.get("/healthz");
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
        part.send_replace(Condition::good("back"));
        assert_eq!(served.get("/readyz").status, 200);
    }
    health.redis.send_replace(Condition::bad("away"));
    assert_eq!(served.get("/readyz").status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_prometheus_text_also_when_nothing_is_there() {
    let served = default().await;
    served.metrics.database_up(false);
    let answer = served.get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.has("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    assert!(answer.body.contains("\norder_worker_database_up 0\n"), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_is_get_without_the_body() {
    let served = default().await;
    for path in ["/healthz", "/readyz", "/metrics", "/dapr/subscribe"] {
        let (get, head) = (served.get(path), served.ask("HEAD", path));
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        let of =
            |answer: &Answer, name: &str| answer.head.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        assert_eq!(of(&head, "content-type"), of(&get, "content-type"), "{path}");
        assert_eq!(of(&head, "content-length"), of(&get, "content-length"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anything_else_is_told_what_there_is() {
    let served = default().await;
    for path in ["/", "/health", "/healthz/", "/metrics/..", "/dapr", "/%00", "/?a=b", "//healthz"] {
        let answer = served.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json()["paths"], json!(["/healthz", "/readyz", "/metrics", "/dapr/subscribe"]));
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let answer = served.ask(method, "/metrics");
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.has("allow: get,head"), "{}", answer.head);
        assert_eq!(answer.json()["paths"][0], "/healthz");
    }
    assert_eq!(served.get("/healthz?verbose=1").status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_are_refused_and_harm_nobody() {
    let served = default().await;
    let long = "x".repeat(20_000);
    let many = (0..200).map(|n| format!("h{n}: v\r\n")).collect::<String>();
    for (request, status) in [
        ("\r\n\r\n\0\0\0".to_owned(), Some("400")),
        ("hello\r\n\r\n".to_owned(), Some("400")),
        ("GET /healthz\r\n\r\n".to_owned(), Some("400")),
        ("GET /healthz HTTP/9.9\r\n\r\n".to_owned(), Some("400")),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), Some("400")),
        ("\u{16}\u{3}\u{1}\u{2}TLS".to_owned(), Some("400")),
        ("GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n".to_owned(), Some("400")),
        ("GET /healthz HTTP/1.1\r\nbad header\r\n\r\n".to_owned(), Some("400")),
        (format!("GET /healthz HTTP/1.1\r\nh: {long}\r\n\r\n"), Some("431")),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), Some("4")),
        (format!("GET /healthz HTTP/1.1\r\n{many}\r\n"), Some("431")),
    ] {
        let answer = served.send(request.as_bytes());
        let seen = answer.strip_prefix("HTTP/1.1 ").or(answer.strip_prefix("HTTP/1.0 "));
        assert!(
            answer.is_empty() || status.is_none_or(|status| seen.is_some_and(|seen| seen.starts_with(status))),
            "{:?}: {answer}",
            &request[..request.len().min(40)]
        );
        assert_eq!(served.get("/healthz").status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_never_read_into_memory() {
    let served = default().await;
    let mut stream = served.connect();
    stream.write_all(b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000000\r\n\r\n").unwrap();
    let start = Instant::now();
    let chunk = [b'x'; 64 * 1024];
    let mut sent = 0_u64;
    while stream.write_all(&chunk).is_ok() {
        sent += 65_536;
        assert!(sent < 100_000_000, "the listener goes on reading");
    }
    assert!(start.elapsed() < Duration::from_secs(10));
}

fn hurried() -> Limits {
    Limits {
        connections: 8,
        headers: Duration::from_millis(200),
        connection: Duration::from_millis(600),
        finish: Duration::from_millis(200),
    }
}

/// Whether the listener closes `stream` within `limit`.
fn closes(mut stream: &TcpStream, limit: Duration) -> bool {
    stream.set_read_timeout(Some(limit)).unwrap();
    let mut rest = [0; 1024];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_headers_and_idle_connections_end() {
    let served = served(hurried(), Subscriptions::none()).await;
    let silent = served.connect();
    let mut slow = served.connect();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nho").unwrap();
    let mut kept_alive = served.connect();
    kept_alive.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    for stream in [&silent, &slow, &kept_alive] {
        assert!(closes(stream, Duration::from_secs(5)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_ends_with_its_connections_time() {
    let served = served(hurried(), Subscriptions::none()).await;
    let start = Instant::now();
    let mut stream = served.connect();
    // Answers are not read: what is asked for piles up on the client's side.
    while stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").is_ok() {
        assert!(start.elapsed() < Duration::from_secs(10), "the listener goes on");
        stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_hold_on_do_not_keep_a_probe_out() {
    // By themselves they would go on for minutes.
    let (headers, connection) = (Duration::from_secs(300), Duration::from_secs(300));
    let limits = Limits { connections: 8, headers, connection, ..Limits::default() };
    let served = served(limits, Subscriptions::none()).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut stream = served.connect();
        stream.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
        held.push(stream);
    }
    let start = Instant::now();
    assert_eq!(served.get("/healthz").status, 200);
    assert!(closes(&held[0], Duration::from_secs(60)), "the oldest gave way");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    assert!(!closes(&held[99], Duration::from_millis(100)), "the youngest is still there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_is_bounded_and_frees_the_port() {
    let served = served(hurried(), Subscriptions::none()).await;
    let mut half = served.connect();
    half.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
    assert_eq!(served.get("/healthz").status, 200);
    let start = Instant::now();
    served.shutdown.cancel();
    served.task.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    std::net::TcpListener::bind(served.addr).unwrap();
}
