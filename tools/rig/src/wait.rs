//! Waiting for a condition with a limit, never for luck.

use std::panic::Location;
use std::time::{Duration, Instant};

/// How long anything may take that takes moments when nothing is wrong. It only bounds what hangs: a busy machine takes longer for
/// everything, and no test means to say how long.
pub const SOON: Duration = Duration::from_secs(120);

/// What a probe may answer: `bool`, or an `Option` whose value the wait hands on.
pub trait Answer {
    /// What the wait returns when the condition holds.
    type Value;
    /// The value when the condition holds, else nothing.
    fn holds(self) -> Option<Self::Value>;
}

impl Answer for bool {
    type Value = ();
    fn holds(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Answer for Option<T> {
    type Value = T;
    fn holds(self) -> Option<T> {
        self
    }
}

/// Probes until the condition holds: at once, then after 5 ms, growing to 100 ms. Panics past `limit`, naming `what` was
/// awaited and where.
#[track_caller]
pub fn until<A: Answer>(what: &str, limit: Duration, probe: impl AsyncFnMut() -> A) -> impl Future<Output = A::Value> {
    until_or(what, limit, String::new, probe)
}

/// As [`until`]; the message of the panic ends with what `explain` says, for example the tail of a log.
#[track_caller]
pub fn until_or<A: Answer>(
    what: &str,
    limit: Duration,
    explain: impl FnOnce() -> String,
    mut probe: impl AsyncFnMut() -> A,
) -> impl Future<Output = A::Value> {
    let place = Location::caller();
    async move {
        let start = Instant::now();
        let mut pause = Duration::from_millis(5);
        loop {
            if let Some(value) = probe().await.holds() {
                return value;
            }
            if start.elapsed() >= limit {
                panic!("waited {limit:?} for {what} (at {place})\n{}", explain());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_millis(100));
        }
    }
}
