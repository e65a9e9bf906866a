//! The console: pages for operators, over what the commands show and do.
//!
//! Server-rendered, with htmx to keep them live; nothing is loaded from elsewhere, and the strictest policy says so to the browser.
//! Reading and changing go through [`crate::operations`] and its like: a page and a command are two views of one thing, and each
//! section tells its command line. A change needs an operator, a form of their own session, and leaves a record under their name.
//! With no users configured everybody on this machine may look, and nobody can change anything.

mod change;
mod guard;
mod history;
mod login;
mod page;
mod pages;
pub mod settings;
mod tries;
mod users;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::middleware;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

pub use users::hash;

use crate::platform::database::PgPool;
use crate::platform::settings::Secret;
use crate::shop::orders::AmountMismatch;
use crate::web::admin;
use crate::web::board;
use guard::Guard;
use history::History;
use users::Users;

/// Everything that the pages share.
#[derive(Debug)]
pub struct Context {
    pool: PgPool,
    settings: settings::Console,
    users: watch::Sender<Users>,
    guard: Guard,
    history: History,
    /// One rehearsal at a time: it holds orders, for moments, that events wait for.
    rehearsals: Semaphore,
    on_mismatch: AmountMismatch,
    keep_bodies: Duration,
}

/// The console, and the board behind the same login.
#[derive(Clone, Debug)]
pub struct Console(Arc<Context>);

impl Console {
    /// Over the database of `pool`. Rehearsals judge by `on_mismatch`; bodies are kept for `keep_bodies`.
    #[must_use]
    pub fn new(pool: PgPool, settings: settings::Console, on_mismatch: AmountMismatch, keep_bodies: Duration) -> Self {
        let users = watch::Sender::new(read(settings.users.as_ref()));
        let guard = Guard::new(settings.session_key.as_ref());
        let (history, rehearsals) = (History::default(), Semaphore::new(1));
        Self(Arc::new(Context { pool, settings, users, guard, history, rehearsals, on_mismatch, keep_bodies }))
    }

    /// Other users, from now on.
    pub fn set_users(&self, users: Option<&Secret>) {
        self.0.users.send_replace(read(users));
    }

    /// Serves the console until `stop`.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let sampling = Arc::clone(&self.0);
        if self.0.settings.session_key.is_none() && self.0.settings.knows_its_users() {
            tracing::info!(
                "Console: sessions hold in this process alone, and end with it: there is no worker.console.session_key"
            );
        }
        tokio::spawn(
            stop.clone().run_until_cancelled_owned(async move { sampling.history.keep(&sampling.pool).await }),
        );
        admin::serve_router(listener, router(self.0), stop).await;
    }

    /// Serves the board until `stop`.
    pub async fn serve_board(self, listener: TcpListener, stop: CancellationToken) {
        let context = self.0;
        let router = board::router(&context.pool)
            .layer(middleware::from_fn_with_state(Arc::clone(&context), guard::identify))
            .merge(entrance().with_state(context));
        admin::serve_router(listener, router, stop).await;
    }
}

/// Checked with the configuration.
fn read(users: Option<&Secret>) -> Users {
    users.and_then(|users| Users::parse(users.expose()).ok()).unwrap_or_default()
}

/// The paths that need no login.
fn entrance() -> Router<Arc<Context>> {
    let asset = |kind: &'static str, text: &'static str| get(move || async move { ([(CONTENT_TYPE, kind)], text) });
    Router::new()
        .route("/login", get(login::show).post(login::login))
        .route("/assets/style.css", asset("text/css; charset=utf-8", include_str!("assets/style.css")))
        .route("/assets/icon.svg", asset("image/svg+xml", include_str!("assets/icon.svg")))
        .route("/assets/htmx.min.js", asset("text/javascript; charset=utf-8", include_str!("assets/htmx.min.js")))
        .route("/assets/local-time.js", asset("text/javascript; charset=utf-8", include_str!("assets/local-time.js")))
        .route("/assets/keep-place.js", asset("text/javascript; charset=utf-8", include_str!("assets/keep-place.js")))
        .layer(middleware::from_fn(guard::headers))
}

fn router(context: Arc<Context>) -> Router {
    pages::router()
        .route("/logout", post(login::logout))
        .layer(middleware::from_fn_with_state(Arc::clone(&context), guard::identify))
        .layer(middleware::from_fn(guard::headers))
        .merge(entrance())
        .with_state(context)
}
