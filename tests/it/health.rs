//! Health as `/readyz` and `/metrics` show it, while real parts go and come back.

use std::future::ready;

use order_worker::parts::{Condition, Database, Health, Metrics, Probe, State, Subscriptions, connect, serve};
use rig::http::get;
use rig::postgres::Postgres;
use rig::redis::Redis;
use rig::sidecar::Sidecar;
use rig::wait::{SOON, until};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_restart_are_seen_to_go_and_to_come_back() {
    let (postgres, redis) = (Postgres::start().await, Redis::start().await);
    let sidecar = Sidecar::start();
    let sidecar_addr = format!("127.0.0.1:{}", sidecar.grpc_port());
    let url = postgres.database("health").await;
    // Every connection of the pool is in use: that is not a database that is away.
    let settings = Database {
        max_connections: 1,
        acquire_timeout: SOON,
        statement_timeout: SOON,
        lock_timeout: SOON,
        idle_in_transaction_timeout: SOON,
        statement_cache: 1,
    };
    let pool = connect(&url, &settings).unwrap();
    let busy = pool.acquire().await.unwrap();

    let metrics = Metrics::new().unwrap();
    let (reporter, health) = Health::unknown();
    reporter.worker.send_replace(Condition::good("works"));
    let shutdown = CancellationToken::new();
    let probe = Probe {
        pool: pool.clone(),
        schema: || ready(Condition::good("version 1")),
        sidecar: Endpoint::from_shared(format!("http://{sidecar_addr}")).unwrap().connect_lazy(),
        sidecar_addr,
        api_token: None,
        redis: Some(redis::Client::open(redis.url()).unwrap()),
        metrics: metrics.clone(),
    };
    tokio::spawn(probe.run(reporter, shutdown.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let state =
        State { health: health.clone(), metrics: metrics.process.clone(), subscriptions: Subscriptions::none() };
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(serve(listener, state, shutdown.clone()));

    let shown = async |line: &str| {
        until(line, SOON, async || metrics.process.render().unwrap().contains(line)).await;
    };
    let answers = async |path: &str, status: u16| {
        until(path, SOON, async || get(port, path).await.is_ok_and(|answer| answer.0 == status)).await;
    };
    shown("\norder_worker_database_up 1\n").await;
    shown("\norder_worker_redis_up 1\n").await;
    shown("\norder_worker_sidecar_up 1\n").await;
    answers("/readyz", 200).await;
    shown("\norder_worker_database_pool_connections{state=\"used\"} 1\n").await;
    assert_eq!(*health.schema.borrow(), Condition::good("version 1"));

    postgres.stop().await;
    redis.stop();
    sidecar.stop();
    shown("\norder_worker_database_up 0\n").await;
    shown("\norder_worker_redis_up 0\n").await;
    shown("\norder_worker_sidecar_up 0\n").await;
    answers("/readyz", 503).await;
    answers("/healthz", 200).await;
    assert!(!health.database.borrow().ok && !health.schema.borrow().ok);

    postgres.start_again().await;
    redis.start_again().await;
    sidecar.start_again();
    shown("\norder_worker_database_up 1\n").await;
    shown("\norder_worker_redis_up 1\n").await;
    shown("\norder_worker_sidecar_up 1\n").await;
    answers("/readyz", 200).await;
    assert!(health.database.borrow().ok && health.schema.borrow().ok);

    drop(busy);
    shutdown.cancel();
    served.await.unwrap();
}
