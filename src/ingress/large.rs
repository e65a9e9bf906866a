//! Bounds the memory of large messages: at most so many of them are read at once, the others wait in the sender.
//!
//! A message is large once 64 KiB of it were read. It then takes one slot for its whole size, so that two half-read messages
//! never wait for each other; the slot is free when the call is answered. Small messages are bounded by the number of streams.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Bytes, http};
use tower::{Layer, Service};

/// From how many bytes on a message is large.
pub const LARGE: usize = 64 << 10;

/// The layer.
#[derive(Clone, Debug)]
pub struct LargeMessages {
    slots: Arc<Semaphore>,
}

impl LargeMessages {
    /// At most `slots` large messages at once.
    pub fn new(slots: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(slots)) }
    }
}

impl<S> Layer<S> for LargeMessages {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited { inner, slots: Arc::clone(&self.slots) }
    }
}

/// A service whose large messages wait for a slot.
#[derive(Clone, Debug)]
pub struct Limited<S> {
    inner: S,
    slots: Arc<Semaphore>,
}

/// The slot of one call, once it has one.
type Slot = Arc<Mutex<Option<OwnedSemaphorePermit>>>;

impl<S> Service<http::Request<Body>> for Limited<S>
where
    S: Service<http::Request<Body>>,
    S::Future: Send + 'static,
    S::Response: 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let slot = Slot::default();
        let metered =
            |inner| Metered { inner, read: 0, slots: Arc::clone(&self.slots), waiting: None, slot: slot.clone() };
        let answer = self.inner.call(request.map(|body| Body::new(metered(body))));
        Box::pin(async move {
            let answer = answer.await;
            drop(slot);
            answer
        })
    }
}

struct Metered {
    inner: Body,
    read: usize,
    slots: Arc<Semaphore>,
    waiting: Option<BoxFuture<'static, Result<OwnedSemaphorePermit, AcquireError>>>,
    slot: Slot,
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.read >= LARGE {
            let slots = Arc::clone(&self.slots);
            let waiting = self.waiting.get_or_insert_with(|| Box::pin(slots.acquire_owned()));
            let permit =
                ready!(waiting.as_mut().poll(cx)).map_err(|_| Status::unavailable("the worker is stopping"))?;
            self.slot.lock().unwrap_or_else(PoisonError::into_inner).replace(permit);
            self.waiting = None;
            self.read = 0;
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        let has_slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if let Some(Ok(frame)) = &frame
            && !has_slot
        {
            self.read += frame.data_ref().map_or(0, Bytes::len);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
