//! The mechanism: inbox, queue, outgoing rows, runs. It knows nothing of what it carries, nor of who sends and receives it: see
//! [`inbox::Handler`], [`egress::Channel`] and [`runs::Work`].

pub mod audit;
pub mod egress;
pub mod inbox;
mod metrics;
pub mod queue;
pub mod retention;
pub mod runs;
pub mod terms;

pub use metrics::{Metrics, Names};
