//! Parts that are away (closed ports), come back, and refuse; each a few lines of stand-in.

use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use axum::routing::post;
use dapr::dapr::proto::runtime::v1::{GetMetadataRequest, GetMetadataResponse};
use tokio::net::{TcpListener, TcpStream};
use tonic::server::UnaryService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic::{Response, Status};
use tracing::instrument::WithSubscriber;

use super::*;
use crate::platform::database::settings::Database;
use crate::platform::database::{self, PgPool};
use crate::platform::health::Condition;
use crate::platform::telemetry::capture::{self, Captured};
use crate::web::admin::Health;

/// A port that nobody listens on.
async fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Of seven connections.
fn pool(at: SocketAddr) -> PgPool {
    let second = Duration::from_secs(1);
    let settings = Database {
        max_connections: 7,
        acquire_timeout: second,
        statement_timeout: second,
        lock_timeout: second,
        idle_in_transaction_timeout: second,
        statement_cache: 1,
    };
    database::connect(&format!("postgres://order_worker:secret@{at}/orders"), &settings).unwrap()
}

struct Looked<S> {
    rounds: Rounds<S>,
    health: Health,
    metrics: Metrics,
    log: Captured,
}

type Asked = fn() -> Ready<Condition>;

fn looked(database: SocketAddr, sidecar: SocketAddr, redis: SocketAddr, token: Option<&'static str>) -> Looked<Asked> {
    let metrics = Metrics::new().unwrap();
    let probe = Probe {
        pool: pool(database),
        schema: (|| ready(Condition::good("version 1"))) as Asked,
        sidecar: Endpoint::from_shared(format!("http://{sidecar}")).unwrap().connect_lazy(),
        sidecar_addr: sidecar.to_string(),
        api_token: token.map(AsciiMetadataValue::from_static),
        redis: Some(redis::Client::open(format!("redis://:secret@{redis}/1")).unwrap()),
        metrics: metrics.clone(),
    };
    let (reporter, health) = Health::unknown();
    Looked { rounds: Rounds::new(probe, reporter), health, metrics, log: capture::logs(capture::settings()) }
}

impl Looked<Asked> {
    async fn look(&mut self) {
        let dispatch = self.log.dispatch.clone();
        self.rounds.look().with_subscriber(dispatch).await;
    }

    /// The lines of the log that begin with `what`.
    fn said(&self, what: &str) -> Vec<String> {
        let log = self.log.log();
        log.lines().filter(|line| line.contains(&format!(": {what}"))).map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn parts_that_are_away_are_said_once_and_shown() {
    let (database, sidecar, redis) = (closed().await, closed().await, closed().await);
    let mut looked = looked(database, sidecar, redis, None);
    for _ in 0..3 {
        looked.look().await;
    }
    let health = &looked.health;
    for part in [&health.database, &health.sidecar, &health.redis] {
        let condition = part.borrow().clone();
        assert!(!condition.ok && !condition.detail.is_empty() && !condition.detail.contains("secret"), "{condition:?}");
    }
    assert_eq!(*health.schema.borrow(), Condition::bad("not known while the database is away"));

    let text = looked.metrics.process.render().unwrap();
    for part in ["database", "sidecar", "redis"] {
        assert!(text.contains(&format!("\norder_worker_{part}_up 0\n")), "{text}");
    }
    assert!(text.contains("\norder_worker_database_pool_max 7\n"), "{text}");

    let log = looked.log.log();
    assert_eq!(log.lines().count(), 3, "{log}");
    assert!(looked.said("Redis is unreachable")[0].contains(&format!("addr={redis}, error=")), "{log}");
    assert!(looked.said("Postgres is unreachable")[0].contains(&format!("addr={database}/orders, error=")), "{log}");
    assert!(looked.said("Dapr sidecar is unreachable")[0].contains(&format!("addr={sidecar}, error=")), "{log}");
    assert!(!log.contains("secret"), "{log}");
}

#[tokio::test]
async fn parts_that_never_answer_cost_a_second() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = silent.local_addr().unwrap();
    let mut looked = looked(addr, addr, addr, None);
    let start = Instant::now();
    looked.look().await;
    // One after the other they would cost three.
    assert!(start.elapsed() < Duration::from_millis(2800), "{:?}", start.elapsed());
    assert_eq!(*looked.health.database.borrow(), Condition::bad("no answer in 1 s"));
    assert!(!looked.health.redis.borrow().ok && !looked.health.sidecar.borrow().ok);
}

/// A Redis that agrees to everything, or refuses everything.
#[derive(Clone, Default)]
struct Redis {
    refusing: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
}

impl Redis {
    async fn serve(self, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            self.connections.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(self.clone().answer(stream));
        }
    }

    async fn answer(self, stream: TcpStream) {
        let mut bytes = vec![0; 4096];
        loop {
            stream.readable().await.unwrap();
            let read = match stream.try_read(&mut bytes) {
                Ok(0) => return,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(_) => return,
            };
            // Each command is an array, and no argument of the prober's begins with a star.
            let commands = bytes[..read].iter().filter(|byte| **byte == b'*').count();
            let answer = if self.refusing.load(Ordering::SeqCst) { "-WRONGPASS no\r\n" } else { "+OK\r\n" };
            let answers = answer.repeat(commands);
            let mut rest = answers.as_bytes();
            while !rest.is_empty() {
                stream.writable().await.unwrap();
                match stream.try_write(rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        }
    }
}

#[tokio::test]
async fn redis_goes_and_comes_back() {
    let (away, addr) = (closed().await, closed().await);
    let mut looked = looked(away, away, addr, None);
    looked.look().await;
    assert!(!looked.health.redis.borrow().ok);

    let redis = Redis::default();
    redis.refusing.store(true, Ordering::SeqCst);
    let task = tokio::spawn(redis.clone().serve(TcpListener::bind(addr).await.unwrap()));
    looked.look().await;
    assert!(
        looked.health.redis.borrow().detail.contains("authentication failed"),
        "{:?}",
        looked.health.redis.borrow()
    );
    redis.refusing.store(false, Ordering::SeqCst);
    for _ in 0..3 {
        looked.look().await;
    }
    assert_eq!(*looked.health.redis.borrow(), Condition::good("reachable"));
    assert_eq!(redis.connections.load(Ordering::SeqCst), 2, "one refused, one that is kept");
    assert!(looked.metrics.process.render().unwrap().contains("\norder_worker_redis_up 1\n"));

    task.abort();
    redis.refusing.store(true, Ordering::SeqCst);
    looked.look().await;
    assert!(!looked.health.redis.borrow().ok);
    assert_eq!(looked.said("Redis is unreachable").len(), 2);
    assert_eq!(looked.said("Redis is back").len(), 1);
}

/// A sidecar that wants a token.
#[derive(Clone, Copy)]
struct Metadata;

impl UnaryService<GetMetadataRequest> for Metadata {
    type Response = GetMetadataResponse;
    type Future = Ready<Result<Response<GetMetadataResponse>, Status>>;

    fn call(&mut self, request: tonic::Request<GetMetadataRequest>) -> Self::Future {
        let token = request.metadata().get("dapr-api-token").and_then(|token| token.to_str().ok());
        ready(match token {
            Some("token") => {
                let id = "order-worker".to_owned();
                Ok(Response::new(GetMetadataResponse {
                    id,
                    runtime_version: "1.18.0".to_owned(),
                    ..Default::default()
                }))
            }
            _ => Err(Status::unauthenticated("missing token")),
        })
    }
}

#[tokio::test]
async fn the_sidecar_is_asked_with_the_token() {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = incoming.local_addr().unwrap();
    let answer = async |request: axum::extract::Request| {
        tonic::server::Grpc::new(tonic_prost::ProstCodec::default()).unary(Metadata, request).await
    };
    let routes = axum::Router::new().route("/dapr.proto.runtime.v1.Dapr/GetMetadata", post(answer));
    let routes = tonic::service::Routes::from(routes);
    let server = tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(incoming));
    let away = closed().await;

    let mut with = looked(away, addr, away, Some("token"));
    with.look().await;
    assert_eq!(*with.health.sidecar.borrow(), Condition::good("reachable, app id order-worker, version 1.18.0"));
    let mut without = looked(away, addr, away, None);
    without.look().await;
    assert_eq!(*without.health.sidecar.borrow(), Condition::bad("Unauthenticated: missing token"));
    server.abort();
}

#[tokio::test]
async fn a_schema_is_said_when_it_changes_and_forgotten_never() {
    let away = closed().await;
    let mut looked = looked(away, away, away, None);
    let log = looked.log.dispatch.clone();
    let mut saw = |condition: Condition, database_up: bool| {
        tracing::dispatcher::with_default(&log, || looked.rounds.saw_schema(condition, database_up));
    };
    saw(Condition::good("version 1"), true);
    saw(Condition::bad("version 0, migrate first"), true);
    saw(Condition::bad("version 0, migrate first"), true);
    saw(Condition::bad("not known while the database is away"), false);
    saw(Condition::bad("version 0, migrate first"), true);
    saw(Condition::good("version 1"), true);
    assert_eq!(looked.said("The schema cannot be used").len(), 1);
    assert_eq!(looked.said("The schema can be used").len(), 1);
    assert_eq!(*looked.health.schema.borrow(), Condition::good("version 1"));
}

#[tokio::test]
async fn the_prober_looks_at_once_and_stops_when_told() {
    let away = closed().await;
    let (reporter, mut health) = Health::unknown();
    let metrics = Metrics::new().unwrap();
    let probe = Probe {
        pool: pool(away),
        schema: || ready(Condition::good("version 1")),
        sidecar: Endpoint::from_shared(format!("http://{away}")).unwrap().connect_lazy(),
        sidecar_addr: away.to_string(),
        api_token: None,
        redis: Some(redis::Client::open(format!("redis://{away}")).unwrap()),
        metrics,
    };
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(probe.run(reporter, shutdown.clone()));
    tokio::time::timeout(Duration::from_secs(60), health.redis.changed()).await.unwrap().unwrap();
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(60), task).await.unwrap().unwrap();
}
