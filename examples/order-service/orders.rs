//! Orders: placed, shown, and moved on by people.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use order_worker::order_api::OrderApi;
use serde::{Deserialize, Serialize};
use sqlx::types::chrono::{DateTime, Utc};

use super::problem::Problem;
use super::{Shop, request};

/// What a customer orders.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placed {
    payment_method: String,
    currency: String,
    /// A decimal in quotes: JSON numbers are binary fractions to many who write them.
    total_amount: String,
    user_id: Option<String>,
    items: Vec<Item>,
}

/// One line of it; the reservation is the warehouse's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    sku: String,
    quantity: i32,
    reservation_id: Option<String>,
}

/// What a person says to a move.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    notes: Option<String>,
    reason: Option<String>,
}

type Answer = Result<StatusCode, Problem>;

/// `PUT /orders/{order}`: 201, and 200 when it was placed before.
pub async fn place(State(shop): State<Shop>, Path(order): Path<String>, Json(placed): Json<Placed>) -> Answer {
    if placed.items.is_empty() || placed.items.len() > shop.max_items {
        let most = shop.max_items;
        return Err(Problem::unusable(format!("an order has 1 to {most} items, not {}", placed.items.len())));
    }
    let mut tx = shop.pool.begin().await?;
    let inserted = sqlx::query(
        "insert into orders (id, order_number, user_id, payment_method, currency, total_amount)
         values ($1, 'N-' || $1, $2, $3, $4, $5::text::numeric) on conflict (id) do nothing",
    )
    .bind(&order)
    .bind(&placed.user_id)
    .bind(&placed.payment_method)
    .bind(&placed.currency)
    .bind(&placed.total_amount)
    .execute(&mut *tx)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(StatusCode::OK);
    }
    for item in &placed.items {
        sqlx::query(
            "insert into order_items (order_id, sku, quantity, reservation_id, reserved_at, reservation_status)
             values ($1, $2, $3, $4, case when $4 is not null then now() end, case when $4 is not null then 'reserved' end)",
        )
        .bind(&order)
        .bind(&item.sku)
        .bind(item.quantity)
        .bind(&item.reservation_id)
        .execute(&mut *tx)
        .await?;
    }
    OrderApi::new(&mut tx, format!("place:{order}")).created(&order).await?;
    tx.commit().await?;
    Ok(StatusCode::CREATED)
}

/// An order, as it is shown.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub struct Shown {
    id: String,
    order_number: String,
    status: String,
    payment_method: String,
    delivered: bool,
    currency: String,
    total_amount: String,
    #[sqlx(skip)]
    items: Vec<ShownItem>,
    #[sqlx(skip)]
    history: Vec<Step>,
}

/// One line of it.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub struct ShownItem {
    id: i64,
    sku: String,
    quantity: i32,
    reservation_status: Option<String>,
}

/// One step of its life.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub struct Step {
    status: String,
    reason: Option<String>,
    notes: Option<String>,
    at: DateTime<Utc>,
}

/// `GET /orders/{order}`.
pub async fn show(State(shop): State<Shop>, Path(order): Path<String>) -> Result<Json<Shown>, Problem> {
    let found: Option<Shown> = sqlx::query_as(
        "select id, order_number, status, payment_method, delivered, currency, total_amount::text from orders where id = $1",
    )
    .bind(&order)
    .fetch_optional(&shop.pool)
    .await?;
    let mut shown = found.ok_or_else(|| Problem::not_found(format!("order {order} does not exist")))?;
    shown.items =
        sqlx::query_as("select id, sku, quantity, reservation_status from order_items where order_id = $1 order by id")
            .bind(&order)
            .fetch_all(&shop.pool)
            .await?;
    shown.history = sqlx::query_as(
        "select new_status as status, reason, notes, created_at as at from order_status_history where order_id = $1 order by id",
    )
    .bind(&order)
    .fetch_all(&shop.pool)
    .await?;
    Ok(Json(shown))
}

/// `POST /orders/{order}/confirm`.
pub async fn confirm(State(shop): State<Shop>, Path(order): Path<String>, Json(said): Json<Said>) -> Answer {
    let moved = async |api: &mut OrderApi<'_>| api.confirm(&order, said.notes.as_deref()).await;
    request(&shop, format!("confirm:{order}"), moved).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /orders/{order}/ship`.
pub async fn ship(State(shop): State<Shop>, Path(order): Path<String>, Json(said): Json<Said>) -> Answer {
    let moved = async |api: &mut OrderApi<'_>| api.ship(&order, said.notes.as_deref()).await;
    request(&shop, format!("ship:{order}"), moved).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /orders/{order}/deliver`.
pub async fn deliver(State(shop): State<Shop>, Path(order): Path<String>, Json(said): Json<Said>) -> Answer {
    let moved = async |api: &mut OrderApi<'_>| api.deliver(&order, said.notes.as_deref()).await;
    request(&shop, format!("deliver:{order}"), moved).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /orders/{order}/cancel`.
pub async fn cancel(State(shop): State<Shop>, Path(order): Path<String>, Json(said): Json<Said>) -> Answer {
    let reason = said.reason.as_deref().unwrap_or("Cancelled by the customer");
    let moved = async |api: &mut OrderApi<'_>| api.cancel(&order, reason).await;
    request(&shop, format!("cancel:{order}"), moved).await?;
    Ok(StatusCode::NO_CONTENT)
}
