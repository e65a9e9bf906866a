//! What apalis-cron is told: when to wake, by this process's clock.

use apalis_cron::Tick;
use chrono::{TimeDelta, Utc};

use super::Schedule;

/// A schedule for apalis-cron. Whether a tick has come is for the database to say: a wake-up at the wrong time finds nothing, and
/// one that does not come costs a poll interval.
#[derive(Clone, Debug)]
pub struct Wakes(pub Schedule);

impl<Tz> apalis_cron::Schedule<Tz> for Wakes {
    fn next_tick(&mut self, _: &Tz) -> Option<Tick<Tz>> {
        // A moment that has passed when apalis-cron looks is an error to it.
        let tick = self.0.after(Utc::now() + TimeDelta::milliseconds(100))?;
        Some(Tick::new(u64::try_from(tick.timestamp()).ok()?))
    }
}
