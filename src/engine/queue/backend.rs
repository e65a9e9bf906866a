//! A source of batches as an apalis backend: one apalis task is one batch.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend as ApalisBackend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::worker::context::WorkerContext;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use tower_layer::Identity;

/// Where batches come from.
///
/// `next` waits: for a free permit, for work, for a database that is away. It never fails, since apalis restarts a worker at
/// once on a failed stream and drops what it has in hand; what goes wrong is logged and tried again inside.
pub trait Source: Send + Sync + 'static {
    /// The work of one apalis task.
    type Batch: Send + 'static;

    /// The next batch; cancel-safe between its awaits.
    fn next(&self) -> impl Future<Output = Self::Batch> + Send;

    /// Called once when the worker stops, after the last batch: gives back what was held.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// The apalis backend over a [`Source`].
pub struct Backend<S: Source> {
    source: Arc<S>,
    batches: BoxStream<'static, S::Batch>,
    closing: Option<BoxFuture<'static, ()>>,
}

impl<S: Source> Backend<S> {
    /// A backend over `source`; apalis builds one anew at each restart of its worker, over the same source.
    #[must_use]
    pub fn new(source: Arc<S>) -> Self {
        let batches = futures::stream::unfold(Arc::clone(&source), async |source| {
            let batch = source.next().await;
            Some((batch, source))
        });
        Self { source, batches: batches.boxed(), closing: None }
    }
}

impl<S: Source> ApalisBackend for Backend<S> {
    type Task = Task<S::Batch>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Task<S::Batch>, Infallible>>> {
        self.batches.poll_next_unpin(cx).map(|batch| batch.map(|batch| Ok(Task::new(batch))))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        let source = Arc::clone(&self.source);
        let closing = self.closing.get_or_insert_with(|| Box::pin(async move { source.close().await }));
        closing.as_mut().poll(cx).map(Ok)
    }
}

impl<S: Source> BackendConfig for Backend<S> {
    type Args = S::Batch;
    type Id = u64;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
