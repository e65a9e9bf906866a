//! The schema: migrations, the adoption of shared tables that exist, and what a restore leaves behind.

mod adopt;
mod error;
mod fit;
mod migrate;
mod migrations;
mod sequences;
mod state;

pub use adopt::SHARED_TABLES;
pub(crate) use adopt::misfits;
pub use error::MigrateError;
pub use fit::{held_back, published_without_identity, refused_statuses};
pub use migrate::migrate;
pub use sequences::{Behind, behind};
pub use state::{SchemaState, schema_state, schema_state_directly};
