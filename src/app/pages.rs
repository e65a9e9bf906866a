//! The console and the board: served by a worker, or alone.

use tokio_util::sync::CancellationToken;

use super::config::Config;
use crate::platform::database::PgPool;
use crate::web::console::Console;

/// The console over the database of `pool`.
pub fn console(config: &Config, pool: PgPool) -> Console {
    let inbox = &config.worker.inbox;
    Console::new(pool, config.worker.console.clone(), inbox.payments.mismatch(), inbox.keep.keep_bodies)
}

/// Serves the board of `console` until `stop`, where it is enabled and its port is free.
pub async fn start_board(console: &Console, config: &Config, stop: &CancellationToken) {
    let board = &config.worker.board;
    if board.enabled
        && let Some(listener) = board.addr.open_pages("Board").await
    {
        tokio::spawn(console.clone().serve_board(listener, stop.clone()));
    }
}
