//! `worker.warehouse` and `external_services.warehouse_service`: calls to the warehouse.

use std::time::Duration;

use crate::platform::settings::{GrpcEndpoint, Rule, section};

section! {
    /// Calls to the warehouse, whose address is `external_services.warehouse_service.grpc_endpoint`.
    pub struct Warehouse {
        #[serde(with = "humantime_serde")]
        timeout: Duration = Rule::CALL_TIMEOUT,
    }
}

section! {
    /// `external_services.warehouse_service`.
    pub struct WarehouseService {
        grpc_endpoint: GrpcEndpoint = Rule::text::<GrpcEndpoint>(GrpcEndpoint::ALLOWED),
    }
}
