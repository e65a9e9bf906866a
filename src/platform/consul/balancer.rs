//! Calls balanced over the instances of a service, with ejection of those that do not answer.
//!
//! Each call goes to the instance with the fewest calls in flight. An instance is *ejected* when a call to it timed out or broke, it has
//! answered nothing since that call began, and another instance has answered meanwhile: without such a witness the fault may be the
//! network's, or the call's. After the ejection time and an answered health check it gets calls again, one at a time until it has answered
//! one; so does a new instance. Where every instance is ejected, each is tried.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tonic::body::Body;
use tonic::transport::{Channel, Error};
use tower::{Service, ServiceExt};

/// Every gRPC server answers it, if only with "unimplemented".
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
/// The limit of a health check.
const ANSWER: Duration = Duration::from_secs(3);
/// The first ejection of an instance; each one after it is twice as long, up to [`LONGEST_EJECTION`].
const FIRST_EJECTION: Duration = Duration::from_secs(10);
const LONGEST_EJECTION: Duration = Duration::from_secs(300);
/// Between two health checks that are not answered.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// A connection to several instances. Clones share them.
#[derive(Clone, Debug)]
pub struct Balancer(Arc<Mutex<Vec<Arc<Target>>>>);

/// One instance.
#[derive(Debug)]
pub(super) struct Target {
    name: String,
    channel: Channel,
    state: Mutex<TargetState>,
}

/// The state of an instance. Pure.
#[derive(Debug, Default)]
struct TargetState {
    in_flight: usize,
    /// It has answered a health check, or a call, since its last ejection.
    trusted: bool,
    /// It has answered a call since.
    proven: bool,
    /// When it last answered a call.
    answered: Option<Instant>,
    /// Ejections since it last answered a call.
    failures: u32,
    /// A health check is under way, or will be.
    checked: bool,
}

impl TargetState {
    /// The smallest of these is called.
    fn rank(&self) -> (bool, usize) {
        (!(self.trusted && (self.proven || self.in_flight == 0)), self.in_flight)
    }

    fn answered(&mut self, at: Instant) {
        (self.trusted, self.proven, self.failures, self.answered) = (true, true, 0, Some(at));
    }

    /// A call that began then was not answered; `witness`: another instance has answered one meanwhile. Returns for how long it is
    /// ejected; `None`: it is not.
    fn unanswered(&mut self, began: Instant, witness: bool) -> Option<Duration> {
        if !witness || self.answered_since(began) || !self.trusted {
            return None;
        }
        (self.trusted, self.proven) = (false, false);
        self.failures += 1;
        Some(FIRST_EJECTION.saturating_mul(1 << (self.failures - 1).min(10)).min(LONGEST_EJECTION))
    }

    fn answered_since(&self, moment: Instant) -> bool {
        self.answered.is_some_and(|answered| answered >= moment)
    }
}

impl Target {
    /// A new one, of which nothing is known.
    pub(super) fn new(name: String, channel: Channel) -> Arc<Self> {
        Arc::new(Self { name, channel, state: Mutex::default() })
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn state(&self) -> MutexGuard<'_, TargetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends health checks, the first after `wait`, until one is answered or Consul no longer names the instance.
    fn check(self: &Arc<Self>, mut wait: Duration) {
        if std::mem::replace(&mut self.state().checked, true) {
            return;
        }
        let (target, channel) = (Arc::downgrade(self), self.channel.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(wait).await;
                if target.strong_count() == 0 {
                    return;
                }
                let answer = tokio::time::timeout(ANSWER, channel.clone().oneshot(health_check()));
                if matches!(answer.await, Ok(Ok(_))) {
                    if let Some(target) = target.upgrade() {
                        let mut state = target.state();
                        (state.trusted, state.checked) = (true, false);
                    }
                    return;
                }
                wait = CHECK_INTERVAL;
            }
        });
    }
}

fn health_check() -> hyper::Request<Body> {
    // An empty message.
    let body = Body::new(http_body_util::Full::new(hyper::body::Bytes::from_static(&[0; 5])));
    let mut request = hyper::Request::new(body);
    *request.method_mut() = hyper::Method::POST;
    *request.uri_mut() = hyper::Uri::from_static(HEALTH_CHECK);
    let headers = request.headers_mut();
    headers.insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/grpc"));
    headers.insert(hyper::header::TE, hyper::header::HeaderValue::from_static("trailers"));
    request
}

impl Balancer {
    /// A connection to one instance.
    #[must_use]
    pub fn to(channel: Channel) -> Self {
        Self::over(vec![Target::new(String::new(), channel)])
    }

    pub(super) fn over(targets: Vec<Arc<Target>>) -> Self {
        Self(Arc::new(Mutex::new(targets)))
    }

    fn targets(&self) -> MutexGuard<'_, Vec<Arc<Target>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the instances: at least one. A call in flight ends where it began.
    pub(super) fn replace(&self, targets: Vec<Arc<Target>>) {
        if targets.len() > 1 {
            // A single one is called in any case.
            targets.iter().filter(|target| !target.state().trusted).for_each(|target| target.check(Duration::ZERO));
        }
        *self.targets() = targets;
    }

    fn begin(&self) -> Call {
        let targets = self.targets();
        let turn = fastrand::usize(..targets.len().max(1));
        let (before, from) = targets.split_at(turn.min(targets.len()));
        // The first of the smallest: where they are equal, any.
        let target = from.iter().chain(before).min_by_key(|target| target.state().rank()).cloned();
        drop(targets);
        // There is always one.
        let target = target.unwrap_or_else(|| unreachable!("a connection to nobody"));
        target.state().in_flight += 1;
        Call { target, began: Instant::now(), others: Arc::downgrade(&self.0), over: false }
    }
}

/// A call in flight. Dropped before it is over, it was not answered in time.
struct Call {
    target: Arc<Target>,
    began: Instant,
    others: Weak<Mutex<Vec<Arc<Target>>>>,
    over: bool,
}

impl Call {
    fn answered(mut self) {
        self.over = true;
        self.target.state().answered(Instant::now());
    }

    fn unanswered(&self) {
        let Some(targets) = self.others.upgrade() else { return };
        let targets = targets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let others = targets.iter().filter(|target| !Arc::ptr_eq(target, &self.target));
        let witness = others.into_iter().any(|target| target.state().answered_since(self.began));
        let ejection = self.target.state().unanswered(self.began, witness);
        if let Some(ejection) = ejection {
            let (instance, seconds) = (self.target.name(), ejection.as_secs());
            tracing::warn!(instance, seconds, "Instance ejected: it answers nothing while others do");
            self.target.check(ejection);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.target.state().in_flight -= 1;
        if !self.over {
            self.unanswered();
        }
    }
}

impl Service<hyper::Request<Body>> for Balancer {
    type Response = hyper::Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: hyper::Request<Body>) -> Self::Future {
        let in_flight = self.begin();
        Box::pin(async move {
            let answer = in_flight.target.channel.clone().oneshot(request).await?;
            in_flight.answered();
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn an_instance_is_ejected_only_where_others_answered_meanwhile_and_it_did_not() {
        let began = Instant::now();
        let trusted = || TargetState { trusted: true, proven: true, ..TargetState::default() };
        assert_eq!(trusted().unanswered(began, false), None, "no witness");
        let mut slow = trusted();
        slow.answered(began + SECOND);
        assert_eq!(slow.unanswered(began, true), None, "it answers others");
        let mut silent = trusted();
        assert_eq!(silent.unanswered(began, true), Some(FIRST_EJECTION));
        assert_eq!(silent.unanswered(began, true), None, "once");
        silent.trusted = true;
        assert_eq!(silent.unanswered(began, true), Some(2 * FIRST_EJECTION), "longer each time");
        for _ in 0..40 {
            silent.trusted = true;
            assert!(silent.unanswered(began, true).unwrap() <= LONGEST_EJECTION);
        }
        silent.answered(began + SECOND);
        assert_eq!(silent.unanswered(began + 2 * SECOND, true), Some(FIRST_EJECTION), "forgotten after an answer");
    }

    #[test]
    fn one_that_has_proven_nothing_gets_one_call_at_a_time_and_an_ejected_one_the_last() {
        let state = |trusted, proven, in_flight| TargetState { trusted, proven, in_flight, ..TargetState::default() };
        assert!(state(true, false, 0).rank() <= state(true, true, 0).rank());
        assert!(state(true, true, 5).rank() < state(true, false, 1).rank());
        assert!(state(true, true, 500).rank() < state(false, false, 0).rank());
        assert!(state(true, true, 1).rank() < state(true, true, 2).rank());
    }
}
