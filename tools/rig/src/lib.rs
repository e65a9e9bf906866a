//! What tests, benches and the demo run against.
//!
//! Real software, thrown away afterwards: [`Postgres`](postgres::Postgres), [`Redis`](redis::Redis) and
//! [`Daprd`](daprd::Daprd) on free loopback ports, the [`Worker`](worker::Worker) itself as a process that can be killed.
//! Stand-ins with a book of what reached them: the [`Warehouse`](warehouse::Warehouse), a [`Sidecar`](sidecar::Sidecar) that
//! only takes publishes, a [`Subscriber`](subscriber::Subscriber) of announcements, a [`Consul`](consul::Consul) agent.
//! Sources of events: a [`Publisher`](publisher::Publisher) through a real sidecar, a [`Callback`](callback::Callback) that
//! calls the worker as a sidecar would. A [`Plan`](plan::Plan) of payments knows what must become of them, and
//! [`Books`](books::Books) hold everybody's books against it. [`Stack`](stack::Stack) and [`Direct`](stack::Direct) start the usual sets of them.
//!
//! Everything lives under `target/rig/`, dies with the process that started it, and is removed unless a test failed.

// This crate only runs inside tests, benches and the demo, where a panic with a clear message is the right answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod authority;
pub mod behaviour;
pub mod books;
pub mod browser;
pub mod callback;
pub mod chart;
pub mod clock;
pub mod consul;
pub mod daprd;
pub mod http;
pub mod kube;
pub mod order_service;
pub mod orders;
pub mod payment;
pub mod plan;
pub mod pooler;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod publisher;
pub mod redis;
pub mod run_dir;
pub mod server;
pub mod sidecar;
pub mod stack;
pub mod subscriber;
pub mod wait;
pub mod warehouse;
pub mod worker;
