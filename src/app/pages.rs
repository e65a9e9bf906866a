//! The console and the board: served by a worker, or alone.

use std::io;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use crate::platform::database::PgPool;
use crate::platform::settings::ListenAddr;
use crate::web::console::Console;

/// The console over the database of `pool`.
pub fn console(config: &Config, pool: PgPool) -> Console {
    let inbox = &config.worker.inbox;
    Console::new(pool, config.worker.console.clone(), inbox.payments.mismatch(), inbox.keep.keep_bodies)
}

/// Opens the port of `what`, and logs its address: port 0 has become another.
pub async fn open(what: &str, addr: &ListenAddr) -> io::Result<TcpListener> {
    let listener = addr.bind().await?;
    let at = listener.local_addr().map_or_else(|_| addr.to_string(), |at| at.to_string());
    tracing::info!("{what} opened: http://{at}");
    Ok(listener)
}

/// The same, where it is enabled. A port that is taken is logged, and is no error: two workers on one machine have one console and one
/// board.
pub async fn open_if_free(what: &str, enabled: bool, addr: &ListenAddr) -> Option<TcpListener> {
    if !enabled {
        return None;
    }
    let opened = open(what, addr).await;
    opened.map_err(|error| tracing::warn!(addr = %addr, "{what} not opened: error={error}")).ok()
}

/// Serves the board of `console` until `stop`, where it is enabled and its port is free.
pub async fn start_board(console: &Console, config: &Config, stop: &CancellationToken) {
    let board = &config.worker.board;
    if let Some(listener) = open_if_free("Board", board.enabled, &board.addr).await {
        tokio::spawn(console.clone().serve_board(listener, stop.clone()));
    }
}
