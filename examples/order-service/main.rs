//! A small order API, as the other pod beside the worker would be: HTTP on port 8000, app id `order-service`, called through its
//! Dapr sidecar (`/v1.0/invoke/order-service/method/orders/o-1`) or directly.
//!
//! It publishes nothing and calls nobody: what it does to an order goes through [`order_worker::order_api`], in one transaction with
//! the announcement, which the worker publishes.
//!
//! ```text
//! DATABASE_URL=postgres://… cargo run --example order-service
//! curl -X PUT localhost:8000/orders/o-1 -H 'content-type: application/json' \
//!   -d '{"payment_method":"CARD","currency":"USD","total_amount":"10.10","items":[{"sku":"SHIRT","quantity":1}]}'
//! curl -X POST localhost:8000/orders/o-1/confirm -H 'content-type: application/json' -d '{"notes":"by phone"}'
//! curl localhost:8000/orders/o-1
//! ```
#![allow(clippy::print_stderr, reason = "a program that only says why it did not start")]

mod goods;
mod idle;
mod orders;
mod problem;

use std::error::Error;
use std::process::ExitCode;

use axum::routing::{get, post, put};
use axum::{Json, Router};
use order_worker::config::Config;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

/// What the handlers share.
#[derive(Clone)]
struct Shop {
    pool: PgPool,
    max_items: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("order-service: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The configuration is the worker's: the two share the file and the environment.
async fn serve() -> Result<(), Box<dyn Error>> {
    let config = Config::load(None, std::env::vars())?.config;
    let pool = PgPoolOptions::new().max_connections(10).connect(config.database_url()?.expose()).await?;
    let shop = Shop { pool, max_items: config.business.order.max_items_per_order as usize };
    let listener = config.server.http.addr.bind().await?;
    let stopped = async {
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            Some(_) = async { terminated.as_mut()?.recv().await } => {}
        }
    };
    axum::serve(listener, router(shop)).with_graceful_shutdown(stopped).await?;
    Ok(())
}

fn router(shop: Shop) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        // Dapr asks at its start: this app subscribes to nothing.
        .route("/dapr/subscribe", get(async || Json::<[(); 0]>([])))
        .route("/orders/{order}", put(orders::place).get(orders::show))
        .route("/orders/{order}/confirm", post(orders::confirm))
        .route("/orders/{order}/ship", post(orders::ship))
        .route("/orders/{order}/deliver", post(orders::deliver))
        .route("/orders/{order}/cancel", post(orders::cancel))
        .route("/orders/{order}/returns/{id}", put(goods::request_return))
        .route("/orders/{order}/exchanges/{id}", put(goods::request_exchange))
        .route("/returns/{id}/approve", post(goods::approve_return))
        .route("/returns/{id}/reject", post(goods::reject_return))
        .route("/returns/{id}/complete", post(goods::complete_return))
        .route("/exchanges/{id}/approve", post(goods::approve_exchange))
        .route("/exchanges/{id}/complete", post(goods::complete_exchange))
        .route("/sessions/{id}", put(idle::use_session))
        .route("/carts/{id}", put(idle::fill_cart))
        .with_state(shop)
}

/// One request: a transaction with its moves, committed when they were all made. The cause is the request's own name: each move
/// of an order happens once in its life, so that whoever got no answer may send it again.
async fn request(
    shop: &Shop,
    cause: String,
    moves: impl AsyncFnOnce(
        &mut order_worker::order_api::OrderApi<'_>,
    ) -> Result<(), order_worker::order_api::OrderApiError>,
) -> Result<(), problem::Problem> {
    let mut tx = shop.pool.begin().await?;
    moves(&mut order_worker::order_api::OrderApi::new(&mut tx, cause)).await?;
    tx.commit().await?;
    Ok(())
}
