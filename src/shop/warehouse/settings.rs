//! `worker.warehouse` and `external_services.warehouse_service`: calls to the warehouse.

use std::time::Duration;

use serde::Deserialize;

use crate::platform::settings::{GrpcEndpoint, Key, Rule};

/// Calls to the warehouse, whose address is `external_services.warehouse_service.grpc_endpoint`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warehouse {
    /// How long one call may take.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Warehouse {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[Key::value("timeout", Rule::CALL_TIMEOUT)];
}

/// `external_services.warehouse_service`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarehouseService {
    /// Where its gRPC server is.
    pub grpc_endpoint: GrpcEndpoint,
}

impl WarehouseService {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[Key::value("grpc_endpoint", Rule::text::<GrpcEndpoint>(GrpcEndpoint::ALLOWED))];
}
