//! The apalis board: the queues as jobs, with their numbers, workers and single rows; it shows, and changes nothing.
//!
//! Its pages need the root of a port. Its API has no limits and no login of its own: here it is behind the console's, takes GET
//! alone, has pages of a bounded number and size, few streams of events, and answers 404 for what it does not know.

mod rows;
pub mod settings;

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use apalis_board::axum::framework::{ApiBuilder, RegisterRoute};
use apalis_board::axum::ui::ServeUI;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use crate::operations::QUEUES;
use crate::platform::database::PgPool;
use crate::web::admin;
use rows::Rows;

/// Streams of events open at once, and how often a byte is sent to see whether anybody is there.
const STREAMS: usize = 8;
const BEAT: Duration = Duration::from_secs(10);
/// The last page, and the most rows of one.
const PAGES: u32 = 10_000;
const ROWS: u32 = 100;

/// The board's pages are a program of their own (WebAssembly, started by a script on the page); they load nothing from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'self'";

/// The board's API and pages.
pub fn router(pool: &PgPool) -> Router {
    let api = QUEUES
        .into_iter()
        .fold(ApiBuilder::new(Router::new()), |api, queue| api.register(queue.as_str(), Rows::of(pool.clone(), queue)));
    let api = api.build().fallback(async || (StatusCode::NOT_FOUND, "there is nothing at this path"));
    Router::new()
        .nest("/api/v1", api)
        .fallback_service(ServeUI::new())
        .layer(middleware::from_fn(bounded))
        .layer(middleware::from_fn(headers))
}

/// Headers of every answer, refusals too.
async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    admin::protect(response.headers_mut(), POLICY);
    response
}

/// The pages want a stream of events to call the system healthy, and never give one back. Few are open at once, nothing is in them,
/// and each ends with its connection, after a minute.
fn events() -> Response {
    static OPEN: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(STREAMS)));
    let Ok(permit) = Arc::clone(&OPEN).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many streams are open").into_response();
    };
    let beats = futures::stream::unfold((permit, true), async |(permit, first)| {
        if !first {
            tokio::time::sleep(BEAT).await;
        }
        Some((Ok::<_, Infallible>(": nothing happens here\n\n"), (permit, false)))
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(beats)).into_response()
}

/// GET alone, and no page beyond the bounds: an endless one would be counted for ever, page 0 ends the handler.
async fn bounded(mut request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, "the board shows, and changes nothing").into_response();
    }
    if request.uri().path() == "/api/v1/events" {
        return events();
    }
    if request.uri().path().starts_with("/api/") {
        let asked =
            Query::<Vec<(String, String)>>::try_from_uri(request.uri()).map(|query| query.0).unwrap_or_default();
        let of = |name: &str| asked.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let number = |name: &str, default: u32, most: u32| {
            of(name).and_then(|value| value.parse().ok()).unwrap_or(default).clamp(1, most)
        };
        let (page, size) = (number("page", 1, PAGES), number("page_size", 10, ROWS));
        let known = ["Pending", "Queued", "Running", "Done", "Failed", "Killed"];
        let status = of("status")
            .filter(|status| known.contains(status))
            .map(|status| format!("&status={status}"))
            .unwrap_or_default();
        let bounded = format!("{}?page={page}&page_size={size}{status}", request.uri().path());
        match bounded.parse::<Uri>() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(_) => return StatusCode::BAD_REQUEST.into_response(),
        }
    }
    next.run(request).await
}
