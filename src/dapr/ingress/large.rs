//! Bounds the memory of large messages: at most so many of them are read at once, the others wait in the sender.
//!
//! A message is large when its header says more than 64 KiB, or that much of it was read. It then takes one slot for its whole
//! size, so that two half-read messages never wait for each other; the slot is free when the call is answered. It waits before
//! its header is handed on, since the decoder makes room for the whole message at once. Small messages are bounded by the number
//! of streams.

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
    largest: usize,
}

impl LargeMessages {
    /// At most `slots` large messages at once, none of more than `largest` bytes.
    pub fn new(slots: usize, largest: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(slots)), largest }
    }
}

impl<S> Layer<S> for LargeMessages {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited { inner, slots: Arc::clone(&self.slots), largest: self.largest }
    }
}

/// A service whose large messages wait for a slot.
#[derive(Clone, Debug)]
pub struct Limited<S> {
    inner: S,
    slots: Arc<Semaphore>,
    largest: usize,
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
        let (slots, shared) = (Arc::clone(&self.slots), Arc::clone(&slot));
        let largest = self.largest;
        let metered = |inner| Metered { inner, read: 0, largest, slots, waiting: None, held: None, slot: shared };
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
    largest: usize,
    slots: Arc<Semaphore>,
    waiting: Option<BoxFuture<'static, Result<OwnedSemaphorePermit, AcquireError>>>,
    /// What showed that the message is large: handed on once there is a slot.
    held: Option<Frame<Bytes>>,
    slot: Slot,
}

impl Metered {
    fn has_slot(&self) -> bool {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Counts what was read; whether the message is large by that, or by what its header says. The decoder would refuse one that
    /// is too large as well, and say neither here nor there which setting it is.
    fn is_large(&mut self, data: &Bytes) -> Result<bool, Status> {
        let told = if self.read == 0 { told_size(data) } else { 0 };
        if told > self.largest {
            let why = format!("{told} bytes, more than worker.eventbus.max_message_bytes ({})", self.largest);
            tracing::error!("Message refused, Dapr has to keep it: size={why}");
            return Err(Status::out_of_range(format!("the message has {why}")));
        }
        self.read += data.len();
        Ok(self.read.max(told) > LARGE)
    }
}

/// The size that a gRPC message's header (a byte of flags, four of length) tells; 0 where it is not whole.
fn told_size(data: &[u8]) -> usize {
    match data {
        [_, a, b, c, d, ..] => u32::from_be_bytes([*a, *b, *c, *d]) as usize,
        _ => 0,
    }
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.held.is_none() {
            let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            let data = frame.data_ref().filter(|_| !self.has_slot());
            match data.map(|data| self.is_large(data)) {
                Some(Ok(true)) => {}
                Some(Err(refusal)) => return Poll::Ready(Some(Err(refusal))),
                Some(Ok(false)) | None => return Poll::Ready(Some(Ok(frame))),
            }
            self.held = Some(frame);
        }
        let slots = Arc::clone(&self.slots);
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(slots.acquire_owned()));
        let permit = ready!(waiting.as_mut().poll(cx)).map_err(|_| Status::unavailable("the worker is stopping"))?;
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).replace(permit);
        self.waiting = None;
        Poll::Ready(self.held.take().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.held.is_none() { self.inner.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::told_size;

    #[test]
    fn a_header_tells_the_size_of_its_message() {
        assert_eq!(told_size(&[0, 0, 1, 0, 1, 9, 9]), 65_537);
        assert_eq!(told_size(&[0, 0, 1, 0]), 0);
    }
}
