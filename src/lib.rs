//! order-worker: a durable outbox/inbox transactional worker.

pub mod admin;
pub mod audit;
pub mod board;
pub mod broker;
pub mod cli;
pub mod config;
pub mod connection;
pub mod console;
pub mod cron;
pub mod database;
pub mod discovery;
pub mod doctor;
pub mod egress;
pub mod failpoint;
pub mod health;
pub mod inbox;
pub mod ingress;
pub mod life;
pub mod operations;
pub mod orders;
pub mod outbox;
pub mod queue;
pub mod reconcile;
pub mod replay;
pub mod sidecar;
pub mod telemetry;
pub mod terms;
pub mod tls;
pub mod worker;

/// The warehouse's protocol, generated from proto/.
pub mod warehouse {
    /// Package `warehouse.v1`.
    #[allow(missing_docs, clippy::all, clippy::unwrap_used)]
    pub mod v1 {
        tonic::include_proto!("warehouse.v1");
    }
}
