//! Stopping by a signal.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that the first SIGTERM or SIGINT cancels; a second one ends the process at once.
pub fn stop_on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    tokio::spawn(watch(stop.clone()));
    stop
}

async fn watch(stop: CancellationToken) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("Signals cannot be caught: this process can only be killed");
        return;
    };
    for first in [true, false] {
        let name = tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        };
        if first {
            tracing::info!(signal = name, "Stopping: finishing what is in hand");
            stop.cancel();
        } else {
            tracing::warn!(signal = name, "Second signal: ending at once");
            std::process::exit(1);
        }
    }
}
