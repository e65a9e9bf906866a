//! The wait before the next attempt. Pure but for the jitter.

use std::time::Duration;

use backon::{BackoffBuilder, ConstantBuilder, ExponentialBackoff, ExponentialBuilder};

/// The first wait after a failure.
const FIRST: Duration = Duration::from_millis(200);
/// The longest wait of a row.
const LONGEST: Duration = Duration::from_secs(300);

/// The wait after `attempts` failures: doubled each time, at most 5 minutes, with a jitter of a quarter either way, so that
/// rows that failed together do not come back together.
#[must_use]
pub fn delay(attempts: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(LONGEST).mul_f64(0.75 + fastrand::f64() / 2.0)
}

/// The waits between attempts that go on until one succeeds: doubled up to `longest`, and jittered.
#[must_use]
pub fn exponential(longest: Duration) -> ExponentialBackoff {
    ExponentialBuilder::new().with_min_delay(FIRST).with_max_delay(longest).without_max_times().with_jitter().build()
}

/// The same wait between attempts that go on until one succeeds.
#[must_use]
pub const fn constant(wait: Duration) -> ConstantBuilder {
    ConstantBuilder::new().with_delay(wait).without_max_times()
}

/// When to look again at a row that waits for somebody else (a locked order, an order that does not exist yet): after a quarter
/// of the time it waited so far, within bounds. So a short wait ends soon, and a long one costs little.
#[must_use]
pub fn look_again(waited: Duration, longest: Duration) -> Duration {
    (waited / 4).clamp(Duration::from_millis(50), longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        for (attempts, seconds) in [(1, 0.2), (2, 0.4), (5, 3.2), (12, 300.0), (200, 300.0)] {
            let wait = delay(attempts).as_secs_f64();
            assert!((seconds * 0.75..=seconds * 1.25).contains(&wait), "{attempts}: {wait}");
        }
    }

    #[test]
    fn waiting_for_others_is_bounded_on_both_sides() {
        let longest = Duration::from_secs(1);
        assert_eq!(look_again(Duration::ZERO, longest), Duration::from_millis(50));
        assert_eq!(look_again(Duration::from_secs(2), longest), Duration::from_millis(500));
        assert_eq!(look_again(Duration::from_secs(3600), longest), longest);
    }
}
