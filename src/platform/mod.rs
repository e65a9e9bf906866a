//! The parts that every program of this kind needs, whatever it is for.

pub mod backoff;
pub mod connection;
pub mod consul;
pub mod database;
pub mod failpoint;
pub mod health;
pub mod settings;
pub mod signals;
pub mod telemetry;
pub mod tls;
