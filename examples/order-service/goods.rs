//! Goods that come back: returns and exchanges.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use order_worker::order_api::{Goods, OrderApi};
use serde::Deserialize;

use super::problem::Problem;
use super::{Shop, request};

/// What a customer sends back, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    items: Vec<Goods>,
    reason: Option<String>,
}

/// Why a return is not accepted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejected {
    reason: String,
}

type Answer = Result<StatusCode, Problem>;
type Asked = Path<(String, String)>;

/// `PUT /orders/{order}/returns/{id}`.
pub async fn request_return(State(shop): State<Shop>, Path((order, id)): Asked, Json(wanted): Json<Wanted>) -> Answer {
    let (goods, reason) = (&wanted.items, wanted.reason.as_deref());
    let moved = async |api: &mut OrderApi<'_>| api.request_return(&id, &order, goods, reason).await;
    request(&shop, format!("return:{id}"), moved).await?;
    Ok(StatusCode::CREATED)
}

/// `PUT /orders/{order}/exchanges/{id}`.
pub async fn request_exchange(
    State(shop): State<Shop>,
    Path((order, id)): Asked,
    Json(wanted): Json<Wanted>,
) -> Answer {
    let (goods, reason) = (&wanted.items, wanted.reason.as_deref());
    let moved = async |api: &mut OrderApi<'_>| api.request_exchange(&id, &order, goods, reason).await;
    request(&shop, format!("exchange:{id}"), moved).await?;
    Ok(StatusCode::CREATED)
}

/// `POST /returns/{id}/approve`.
pub async fn approve_return(State(shop): State<Shop>, Path(id): Path<String>) -> Answer {
    request(&shop, format!("approve:{id}"), async |api: &mut OrderApi<'_>| api.approve_return(&id).await).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /returns/{id}/reject`.
pub async fn reject_return(State(shop): State<Shop>, Path(id): Path<String>, Json(rejected): Json<Rejected>) -> Answer {
    let moved = async |api: &mut OrderApi<'_>| api.reject_return(&id, &rejected.reason).await;
    request(&shop, format!("reject:{id}"), moved).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /returns/{id}/complete`.
pub async fn complete_return(State(shop): State<Shop>, Path(id): Path<String>) -> Answer {
    request(&shop, format!("complete:{id}"), async |api: &mut OrderApi<'_>| api.complete_return(&id).await).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /exchanges/{id}/approve`.
pub async fn approve_exchange(State(shop): State<Shop>, Path(id): Path<String>) -> Answer {
    request(&shop, format!("approve:{id}"), async |api: &mut OrderApi<'_>| api.approve_exchange(&id).await).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /exchanges/{id}/complete`.
pub async fn complete_exchange(State(shop): State<Shop>, Path(id): Path<String>) -> Answer {
    request(&shop, format!("complete:{id}"), async |api: &mut OrderApi<'_>| api.complete_exchange(&id).await).await?;
    Ok(StatusCode::NO_CONTENT)
}
