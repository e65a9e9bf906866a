//! Calls spread over the instances of a service, and past those that do not answer.
//!
//! Each call goes to the instance with the fewest in hand. An instance is *left alone* when it has answered nothing since a call began
//! that it let time out, or that broke, and another instance has answered meanwhile: without such a witness it may as well be the
//! network, or the call. It gets calls again when a while is over and it has answered a greeting, and until it has answered one of them
//! it gets one at a time; so does a new one. Nobody is ever left alone by all: where no instance can be trusted, each is tried.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tonic::body::Body;
use tonic::transport::{Channel, Error};
use tower::{Service, ServiceExt};

/// What every gRPC server answers, if only by saying that it does not know it.
const GREETING: &str = "/grpc.health.v1.Health/Check";
/// An answer to a greeting.
const ANSWER: Duration = Duration::from_secs(3);
/// How long an instance is left alone at first; twice as long each time, up to [`LONGEST`].
const ALONE: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
/// Between two greetings that are not answered.
const AGAIN: Duration = Duration::from_secs(5);

/// A connection to some instances. Clones share them.
#[derive(Clone, Debug)]
pub struct Spread(Arc<Mutex<Vec<Arc<End>>>>);

/// One instance.
#[derive(Debug)]
pub(super) struct End {
    name: String,
    channel: Channel,
    standing: Mutex<Standing>,
}

/// How an instance stands. Pure.
#[derive(Debug, Default)]
struct Standing {
    in_hand: usize,
    /// It has answered a greeting, or a call, since it was left alone.
    trusted: bool,
    /// It has answered a call since.
    proven: bool,
    /// When it last answered a call.
    answered: Option<Instant>,
    /// How often it was left alone since it last answered a call.
    failures: u32,
    /// It is being greeted, or will be.
    greeted: bool,
}

impl Standing {
    /// The smallest of these is called.
    fn rank(&self) -> (bool, usize) {
        (!(self.trusted && (self.proven || self.in_hand == 0)), self.in_hand)
    }

    fn answered(&mut self, at: Instant) {
        (self.trusted, self.proven, self.failures, self.answered) = (true, true, 0, Some(at));
    }

    /// A call that began then was not answered; `witness`: another instance has answered one meanwhile. Tells for how long it is left
    /// alone; none: it is not.
    fn unanswered(&mut self, began: Instant, witness: bool) -> Option<Duration> {
        if !witness || self.answered_since(began) || !self.trusted {
            return None;
        }
        (self.trusted, self.proven) = (false, false);
        self.failures += 1;
        Some(ALONE.saturating_mul(1 << (self.failures - 1).min(10)).min(LONGEST))
    }

    fn answered_since(&self, moment: Instant) -> bool {
        self.answered.is_some_and(|answered| answered >= moment)
    }
}

impl End {
    /// One that is not known yet.
    pub(super) fn new(name: String, channel: Channel) -> Arc<Self> {
        Arc::new(Self { name, channel, standing: Mutex::default() })
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Greets it, first after `wait`, until it answers or is named no more.
    fn greet(self: &Arc<Self>, mut wait: Duration) {
        if std::mem::replace(&mut self.standing().greeted, true) {
            return;
        }
        let (end, channel) = (Arc::downgrade(self), self.channel.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(wait).await;
                if end.strong_count() == 0 {
                    return;
                }
                let answer = tokio::time::timeout(ANSWER, channel.clone().oneshot(greeting()));
                if matches!(answer.await, Ok(Ok(_))) {
                    if let Some(end) = end.upgrade() {
                        let mut standing = end.standing();
                        (standing.trusted, standing.greeted) = (true, false);
                    }
                    return;
                }
                wait = AGAIN;
            }
        });
    }
}

fn greeting() -> hyper::Request<Body> {
    // An empty message.
    let body = Body::new(http_body_util::Full::new(hyper::body::Bytes::from_static(&[0; 5])));
    let mut request = hyper::Request::new(body);
    *request.method_mut() = hyper::Method::POST;
    *request.uri_mut() = hyper::Uri::from_static(GREETING);
    let headers = request.headers_mut();
    headers.insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/grpc"));
    headers.insert(hyper::header::TE, hyper::header::HeaderValue::from_static("trailers"));
    request
}

impl Spread {
    /// A connection to one end alone.
    #[must_use]
    pub fn to(channel: Channel) -> Self {
        Self::over(vec![End::new(String::new(), channel)])
    }

    pub(super) fn over(ends: Vec<Arc<End>>) -> Self {
        Self(Arc::new(Mutex::new(ends)))
    }

    fn ends(&self) -> MutexGuard<'_, Vec<Arc<End>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is called from now on: at least one. A call in flight ends where it began.
    pub(super) fn replace(&self, ends: Vec<Arc<End>>) {
        if ends.len() > 1 {
            // A single one is called in any case.
            ends.iter().filter(|end| !end.standing().trusted).for_each(|end| end.greet(Duration::ZERO));
        }
        *self.ends() = ends;
    }

    fn begin(&self) -> InHand {
        let ends = self.ends();
        let turn = fastrand::usize(..ends.len().max(1));
        let (before, from) = ends.split_at(turn.min(ends.len()));
        // The first of the smallest: where they are equal, any.
        let end = from.iter().chain(before).min_by_key(|end| end.standing().rank()).cloned();
        drop(ends);
        // There is always one.
        let end = end.unwrap_or_else(|| unreachable!("a connection to nobody"));
        end.standing().in_hand += 1;
        InHand { end, began: Instant::now(), others: Arc::downgrade(&self.0), over: false }
    }
}

/// A call in hand. Dropped before it is over, it was not answered in time.
struct InHand {
    end: Arc<End>,
    began: Instant,
    others: Weak<Mutex<Vec<Arc<End>>>>,
    over: bool,
}

impl InHand {
    fn answered(mut self) {
        self.over = true;
        self.end.standing().answered(Instant::now());
    }

    fn unanswered(&self) {
        let Some(ends) = self.others.upgrade() else { return };
        let ends = ends.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let others = ends.iter().filter(|end| !Arc::ptr_eq(end, &self.end));
        let witness = others.into_iter().any(|end| end.standing().answered_since(self.began));
        let alone = self.end.standing().unanswered(self.began, witness);
        if let Some(alone) = alone {
            let (instance, seconds) = (self.end.name(), alone.as_secs());
            tracing::warn!(instance, seconds, "Instance is left alone: it answers nothing while others do");
            self.end.greet(alone);
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.end.standing().in_hand -= 1;
        if !self.over {
            self.unanswered();
        }
    }
}

impl Service<hyper::Request<Body>> for Spread {
    type Response = hyper::Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: hyper::Request<Body>) -> Self::Future {
        let in_hand = self.begin();
        Box::pin(async move {
            let answer = in_hand.end.channel.clone().oneshot(request).await?;
            in_hand.answered();
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn an_instance_is_left_alone_only_where_others_answered_meanwhile_and_it_did_not() {
        let began = Instant::now();
        let trusted = || Standing { trusted: true, proven: true, ..Standing::default() };
        assert_eq!(trusted().unanswered(began, false), None, "no witness");
        let mut slow = trusted();
        slow.answered(began + SECOND);
        assert_eq!(slow.unanswered(began, true), None, "it answers others");
        let mut silent = trusted();
        assert_eq!(silent.unanswered(began, true), Some(ALONE));
        assert_eq!(silent.unanswered(began, true), None, "once");
        silent.trusted = true;
        assert_eq!(silent.unanswered(began, true), Some(2 * ALONE), "longer each time");
        for _ in 0..40 {
            silent.trusted = true;
            assert!(silent.unanswered(began, true).unwrap() <= LONGEST);
        }
        silent.answered(began + SECOND);
        assert_eq!(silent.unanswered(began + 2 * SECOND, true), Some(ALONE), "forgotten after an answer");
    }

    #[test]
    fn one_that_has_proven_nothing_gets_one_call_at_a_time_and_one_that_is_left_alone_the_last() {
        let standing = |trusted, proven, in_hand| Standing { trusted, proven, in_hand, ..Standing::default() };
        assert!(standing(true, false, 0).rank() <= standing(true, true, 0).rank());
        assert!(standing(true, true, 5).rank() < standing(true, false, 1).rank());
        assert!(standing(true, true, 500).rank() < standing(false, false, 0).rank());
        assert!(standing(true, true, 1).rank() < standing(true, true, 2).rank());
    }
}
