//! What is deleted when nobody uses it any more: sessions and carts.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::Shop;
use super::problem::Problem;

/// What lies in a cart.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cart {
    items: Vec<Item>,
}

/// One line of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    sku: String,
    quantity: i32,
}

/// `PUT /sessions/{id}`: used just now.
pub async fn use_session(State(shop): State<Shop>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    sqlx::query("insert into sessions (id) values ($1) on conflict (id) do update set updated_at = now()")
        .bind(&id)
        .execute(&shop.pool)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `PUT /carts/{id}`: what lies in it now.
pub async fn fill_cart(
    State(shop): State<Shop>,
    Path(id): Path<String>,
    Json(cart): Json<Cart>,
) -> Result<StatusCode, Problem> {
    let mut tx = shop.pool.begin().await?;
    sqlx::query("insert into carts (id) values ($1) on conflict (id) do update set updated_at = now()")
        .bind(&id)
        .execute(&mut *tx)
        .await?;
    sqlx::query("delete from cart_items where cart_id = $1").bind(&id).execute(&mut *tx).await?;
    for item in &cart.items {
        sqlx::query("insert into cart_items (cart_id, sku, quantity) values ($1, $2, $3)")
            .bind(&id)
            .bind(&item.sku)
            .bind(item.quantity)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
