//! Everything that the demo needs, started, each with a line of its own.

use std::path::PathBuf;

use rig::daprd::{Daprd, DaprdSpec};
use rig::order_service::OrderService;
use rig::plan::Plan;
use rig::postgres::Postgres;
use rig::publisher::Publisher;
use rig::redis::Redis;
use rig::stack::Stack;
use rig::subscriber::{ANNOUNCEMENTS, Subscriber};
use rig::warehouse::Warehouse;
use rig::worker::{Worker, WorkerSpec, migrate};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::screen::{Screen, number};

/// What runs. Dropped in this order: nobody loses what it is connected to.
#[derive(Debug)]
pub struct Scene {
    /// The worker.
    pub worker: Worker,
    /// The other pod: the order API.
    pub service: OrderService,
    /// Sidecars, broker, warehouse, publisher, subscriber.
    pub stack: Stack,
    /// The order service's own connections.
    pub pool: PgPool,
    // Not the shared one of tests: that lives as long as its process, and leaves its data.
    _postgres: Postgres,
}

impl Scene {
    /// Starts everything and places the plan's orders.
    pub async fn start(plan: &Plan, screen: &Screen) -> Scene {
        let binary = worker_binary();
        let ((postgres, pool, url), redis) = tokio::join!(start_postgres(&binary, screen), start_redis(screen));
        let warehouse = Warehouse::start();
        screen.say(format!("warehouse stand-in on {}, with a book of every call", warehouse.addr()));

        let addr = redis.addr();
        let mut spec = WorkerSpec::new(&binary, &url, 0);
        let (daprd, publisher_daprd, subscriber) = tokio::join!(
            start_daprd(
                DaprdSpec {
                    app_port: Some(spec.eventbus_port),
                    app_health: true,
                    ..DaprdSpec::new("order-worker", &addr)
                },
                screen
            ),
            // Without the worker's configuration, so that KEEP=1 can publish by curl.
            start_daprd(DaprdSpec { with_config: false, ..DaprdSpec::new("payment-service", &addr) }, screen),
            start_subscriber(&addr, screen),
        );
        spec.dapr_grpc_port = daprd.grpc_port();
        let service = OrderService::start(&binary, &url, &addr).await;
        say_daprd(service.daprd(), &format!("order-service, an order API on :{}", service.port()), screen).await;
        spec.redis_addr = Some(addr);
        spec.warehouse_addr = Some(warehouse.addr());
        // The defaults are 10 s and 8 s: what a dead worker had in hand would wait so long after each kill.
        spec = spec.env("ORDER_WORKER_QUEUE_LEASE", "2s").env("ORDER_WORKER_DATABASE_IDLEINTRANSACTIONTIMEOUT", "1s");
        // The default is 10 s: so long a job waits for a look at the streams.
        spec = spec.env("ORDER_WORKER_RECONCILE_EVERY", "1s");
        for job in ["CARTCLEANUP", "ORDERCLEANUP", "CODAUTOCONFIRM"] {
            spec = spec.env(&format!("ORDER_WORKER_CRON_{job}_SCHEDULE"), "* * * * * *");
        }
        let publisher = Publisher::new(publisher_daprd.grpc_port());
        let stack = Stack { worker: spec, publisher, publisher_daprd, subscriber, daprd, warehouse, redis };

        rig::orders::place(&pool, &plan.orders.keys().cloned().collect::<Vec<_>>()).await;
        screen.say(format!("{} orders wait for their payment", number(plan.orders.len())));
        let worker = Worker::start(stack.worker.clone()).await;
        for topic in [rig::payment::CONFIRMED, rig::payment::FAILED] {
            stack.daprd.wait_subscribed(topic).await;
        }
        let (events, admin) = (worker.eventbus_port(), worker.admin_port());
        screen.say(format!(
            "order-worker on 127.0.0.1:{events}, /metrics on :{admin}; leases of 2 s (default 10 s), jobs and looks at the streams each second"
        ));
        Scene { worker, service, stack, pool, _postgres: postgres }
    }
}

async fn start_postgres(binary: &PathBuf, screen: &Screen) -> (Postgres, PgPool, String) {
    let postgres = Postgres::start().await;
    let url = postgres.database("demo").await;
    migrate(binary, &url).await;
    let pool = PgPoolOptions::new().max_connections(4).connect(&url).await.unwrap();
    let version: String = sqlx::query_scalar("show server_version").fetch_one(&pool).await.unwrap();
    let version = version.split(' ').next().unwrap_or_default();
    screen.say(format!("Postgres {version} on 127.0.0.1:{}, a new cluster, migrated", postgres.port()));
    (postgres, pool, url)
}

async fn start_redis(screen: &Screen) -> Redis {
    let redis = Redis::start().await;
    screen.say(format!("Redis {} on {}, fsync at every write", redis.version().await, redis.addr()));
    redis
}

async fn start_daprd(spec: DaprdSpec, screen: &Screen) -> Daprd {
    let app = spec.app_id.clone();
    let daprd = Daprd::start(spec).await;
    say_daprd(&daprd, &app, screen).await;
    daprd
}

async fn start_subscriber(redis_addr: &str, screen: &Screen) -> Subscriber {
    let subscriber = Subscriber::start("fulfillment", redis_addr, &ANNOUNCEMENTS).await;
    say_daprd(subscriber.daprd(), "fulfillment, which takes the announcements", screen).await;
    subscriber
}

async fn say_daprd(daprd: &Daprd, app: &str, screen: &Screen) {
    let metadata = daprd.metadata().await;
    let version = metadata["runtimeVersion"].as_str().unwrap_or("of an unknown version");
    screen.say(format!("daprd {version} on 127.0.0.1:{} for {app}", daprd.grpc_port()));
}

// An example has no CARGO_BIN_EXE: cargo puts the worker one directory above the examples.
fn worker_binary() -> PathBuf {
    let binary = std::env::current_exe().unwrap().parent().unwrap().join("../order-worker");
    binary.canonicalize().unwrap_or_else(|e| panic!("no worker at {}: {e}; `make demo` builds it", binary.display()))
}
