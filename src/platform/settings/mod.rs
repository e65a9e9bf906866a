//! Building blocks of the configuration: keys with their rules, and the types of values that are more than a text. Each module owns
//! its part as a plain struct in its `settings.rs`; [`crate::app::config`] puts the parts together.

pub mod address;
pub mod database_url;
pub mod key;
pub mod rule;
pub mod secret;

pub use address::{GrpcEndpoint, HttpEndpoint, ListenAddr, RemoteAddr};
pub use database_url::DatabaseUrl;
pub(crate) use key::section;
pub use key::{Key, Kind};
pub use rule::Rule;
pub use secret::Secret;
