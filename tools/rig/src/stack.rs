//! The usual sets: everything real for a worker, or only its database with stand-ins.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::callback::Callback;
use crate::daprd::{Daprd, DaprdSpec};
use crate::postgres::Postgres;
use crate::publisher::Publisher;
use crate::redis::Redis;
use crate::sidecar::Sidecar;
use crate::subscriber::{STATUS_CHANGED, Subscriber};
use crate::warehouse::Warehouse;
use crate::worker::{Worker, WorkerSpec, migrate};

/// Everything real but the warehouse: a migrated database, Redis, a sidecar for the worker, one for a publisher of payments
/// (app id `payment-service`) and one for a subscriber of announcements (app id `fulfillment`).
///
/// The worker is the test's to start: `Worker::start(stack.worker.clone())`. Its sidecar already dials its port.
#[derive(Debug)]
pub struct Stack {
    /// Spec of the worker: everything is filled in.
    pub worker: WorkerSpec,
    /// Publishes as the payment service.
    pub publisher: Publisher,
    /// The payment service's sidecar.
    pub publisher_daprd: Daprd,
    /// Receives the announcements.
    pub subscriber: Subscriber,
    /// The worker's sidecar.
    pub daprd: Daprd,
    /// Stand-in of the warehouse.
    pub warehouse: Warehouse,
    /// The broker.
    pub redis: Redis,
}

impl Stack {
    /// Starts it; `name` names the database, `binary` is `env!("CARGO_BIN_EXE_order-worker")`.
    pub async fn start(name: &str, binary: impl AsRef<Path>) -> Stack {
        Stack::start_with(name, binary, |_| ()).await
    }

    /// The same with a change to the worker's sidecar, for example a token in its environment.
    pub async fn start_with(name: &str, binary: impl AsRef<Path>, change: impl FnOnce(&mut DaprdSpec)) -> Stack {
        let binary = binary.as_ref();
        let (database_url, redis) = tokio::join!(migrated(name, binary), Redis::start());
        let warehouse = Warehouse::start();
        let mut worker = WorkerSpec::new(binary, &database_url, 0);

        let addr = redis.addr();
        let mut spec = DaprdSpec::new("order-worker", &addr);
        spec.app_port = Some(worker.eventbus_port);
        spec.app_health = true;
        change(&mut spec);
        let (daprd, publisher_daprd, subscriber) = tokio::join!(
            Daprd::start(spec),
            Daprd::start(DaprdSpec::new("payment-service", &addr)),
            Subscriber::start("fulfillment", &addr, &[STATUS_CHANGED]),
        );
        worker.dapr_grpc_port = daprd.grpc_port();
        worker.redis_addr = Some(addr);
        worker.warehouse_addr = Some(warehouse.addr());
        let publisher = Publisher::new(publisher_daprd.grpc_port());
        Stack { worker, publisher, publisher_daprd, subscriber, daprd, warehouse, redis }
    }
}

/// A migrated database and stand-ins: no daprd, no Redis. For tests of the worker alone, and the benchmark.
#[derive(Debug)]
pub struct Direct {
    /// Spec of the worker: everything is filled in.
    pub worker: WorkerSpec,
    /// Takes the announcements.
    pub sidecar: Sidecar,
    /// Stand-in of the warehouse.
    pub warehouse: Warehouse,
}

impl Direct {
    /// Starts it; `name` names the database, `binary` is `env!("CARGO_BIN_EXE_order-worker")`.
    pub async fn start(name: &str, binary: impl AsRef<Path>) -> Direct {
        let binary = binary.as_ref();
        let database_url = migrated(name, binary).await;
        let (sidecar, warehouse) = (Sidecar::start(), Warehouse::start());
        let mut worker = WorkerSpec::new(binary, &database_url, sidecar.grpc_port());
        worker.warehouse_addr = Some(warehouse.addr());
        Direct { worker, sidecar, warehouse }
    }

    /// Starts the worker and a client that calls it as its sidecar would.
    pub async fn worker(&self) -> (Worker, Callback) {
        let worker = Worker::start(self.worker.clone()).await;
        let callback = Callback::new(worker.eventbus_port());
        (worker, callback)
    }
}

/// A new database in the shared Postgres with the schema of this binary; its URL.
pub async fn migrated(name: &str, binary: &Path) -> String {
    let make: PathBuf = binary.to_owned();
    let postgres = Postgres::shared().await;
    // Two binaries may have two schemas. The hash keeps a path within the 63 bytes of a name.
    let mut hasher = DefaultHasher::new();
    binary.hash(&mut hasher);
    let template = format!("migrated_{:016x}", hasher.finish());
    postgres.database_from(&template, name, async move |url| migrate(make, &url).await).await
}
