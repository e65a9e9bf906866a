//! What a caller is told when it did not work: the status, and the reason as JSON.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use order_worker::order_api::OrderApiError;
use serde_json::json;

/// A refusal.
#[derive(Debug)]
pub struct Problem(StatusCode, String);

impl Problem {
    /// 422: the request cannot be used.
    pub fn unusable(why: impl Into<String>) -> Self {
        Self(StatusCode::UNPROCESSABLE_ENTITY, why.into())
    }

    /// 404.
    pub fn not_found(why: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, why.into())
    }
}

impl From<OrderApiError> for Problem {
    fn from(error: OrderApiError) -> Self {
        let status = match &error {
            OrderApiError::NotFound(_) => StatusCode::NOT_FOUND,
            OrderApiError::Refused(_) | OrderApiError::Conflict(_) => StatusCode::CONFLICT,
            OrderApiError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            OrderApiError::Database(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, error.to_string())
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        OrderApiError::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}
