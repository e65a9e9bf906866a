//! Floods of log lines: when something is down, the same warning comes with every order, thousands of times a second.
//!
//! The same is what one place in the code says, whatever order it names. Of a warning or an error so many lines a second are written;
//! the rest is counted (`order_worker_log_lines_left_out_total`), and every ten seconds a line says how many there were, with one of them
//! as a sample. Lines of `info` and finer are never left out: each says what became of one event.
//!
//! The memory is bounded by the number of places in the code.

use std::collections::HashMap;
use std::fmt;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::losses::Losses;

/// Between two lines about what was left out.
const SAID_EVERY: Duration = Duration::from_secs(10);
/// The most of a sample that is kept, in characters.
const SAMPLE: usize = 200;

/// Lets so many lines a second through from each place. Clones share what they have counted.
#[derive(Clone, Debug)]
pub(super) struct Flood(Arc<State>);

#[derive(Debug)]
struct State {
    /// Lines a second; 0: all.
    limit: u32,
    places: Mutex<HashMap<Identifier, Place>>,
    losses: Losses,
}

/// A place in the code that warns.
#[derive(Debug)]
struct Place {
    metadata: &'static Metadata<'static>,
    /// When its present second began.
    second: Instant,
    written: u32,
    /// Since it was last said.
    left_out: u64,
    /// The first of these.
    sample: String,
}

impl Flood {
    pub(super) fn new(limit: u32, losses: Losses) -> Self {
        Self(Arc::new(State { limit, places: Mutex::default(), losses }))
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Identifier, Place>> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the line is written at `now`.
    fn passes(&self, event: &Event<'_>, now: Instant) -> bool {
        let metadata = event.metadata();
        // What is said here is never left out itself.
        if self.0.limit == 0 || *metadata.level() > Level::WARN || metadata.target() == module_path!() {
            return true;
        }
        let mut places = self.places();
        let place = places.entry(metadata.callsite()).or_insert_with(|| Place {
            metadata,
            second: now,
            written: 0,
            left_out: 0,
            sample: String::new(),
        });
        if now.saturating_duration_since(place.second) >= Duration::from_secs(1) {
            (place.second, place.written) = (now, 0);
        }
        if place.written < self.0.limit {
            place.written += 1;
            return true;
        }
        if place.left_out == 0 {
            event.record(&mut Sample(&mut place.sample));
        }
        place.left_out += 1;
        self.0.losses.log_line();
        false
    }

    /// Logs what was left out since the last time; nothing when that is nothing.
    pub(super) fn say(&self) {
        let flooded = |place: &mut Place| {
            let (left_out, sample) = (take(&mut place.left_out), take(&mut place.sample));
            (left_out > 0).then_some((place.metadata, left_out, sample))
        };
        // Gathered first: the lines below come back here.
        let flooded: Vec<_> = self.places().values_mut().filter_map(flooded).collect();
        for (metadata, count, sample) in flooded {
            let place = metadata.target();
            if *metadata.level() == Level::ERROR {
                tracing::error!(count, place, sample, "Log lines left out");
            } else {
                tracing::warn!(count, place, sample, "Log lines left out");
            }
        }
    }

    /// Says every ten seconds what was left out.
    pub(super) async fn keep_saying(self) {
        loop {
            tokio::time::sleep(SAID_EVERY).await;
            self.say();
        }
    }
}

/// Takes the message of an event.
struct Sample<'a>(&'a mut String);

impl Visit for Sample<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            *self.0 = format!("{value:?}").chars().take(SAMPLE).collect();
        }
    }
}

/// A layer that writes lines, and none that is left out.
///
/// Not a filter: with one that decides by event (`event_enabled`) beside another, tracing-subscriber 0.3.23 fails an assertion of its own.
pub(super) struct Limited<L> {
    pub(super) flood: Flood,
    pub(super) lines: L,
}

// Lines carry no spans, so that events are all there is to hand on.
impl<S: Subscriber, L: Layer<S>> Layer<S> for Limited<L> {
    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        if self.flood.passes(event, Instant::now()) {
            self.lines.on_event(event, ctx);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use tracing::{error, info, warn};

    use super::super::capture::{self, Captured};
    use super::super::settings::Telemetry;
    use super::*;

    fn limited() -> Telemetry {
        Telemetry { log_limit: 3, ..capture::settings() }
    }

    fn count(captured: &Captured, what: &str) -> usize {
        captured.log().lines().filter(|line| line.contains(what)).count()
    }

    #[test]
    fn of_a_flood_a_few_lines_are_written_and_the_rest_is_counted_and_said() {
        for captured in [capture::logs(limited()), capture::traces(limited())] {
            let begun = Instant::now();
            captured.within(|| {
                for order in 0..100 {
                    warn!("Warehouse away: order_id=o{order}");
                    error!(order, "Order lost");
                    info!(order, "Order handled");
                }
            });
            let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
            let written = count(&captured, "Warehouse away");
            assert!((3..=3 * seconds).contains(&written), "{written} in {seconds} s");
            assert_eq!(count(&captured, "Order handled"), 100);
            let left_out = [written, count(&captured, "Order lost")].map(|written| 100 - written);
            assert_eq!(captured.losses.log_lines(), u64::try_from(left_out[0] + left_out[1]).unwrap());

            captured.within(|| captured.flood.say());
            for (level, left_out, sample) in
                [("WARN", left_out[0], "\"Warehouse away: order_id=o3\""), ("ERROR", left_out[1], "\"Order lost\"")]
            {
                let said = format!(
                    "{level} order_worker::platform::telemetry::flood: Log lines left out: count={left_out}, place={}, sample={sample}",
                    module_path!()
                );
                assert_eq!(count(&captured, &said), 1, "{said} is not in:\n{}", captured.log());
            }
            captured.within(|| captured.flood.say());
            assert_eq!(count(&captured, "Log lines left out"), 2, "nothing more was left out");
        }
    }

    #[test]
    fn each_second_and_each_place_begins_anew() {
        let captured = capture::logs(limited());
        let away = || captured.within(|| warn!("Away"));
        let begun = Instant::now();
        (0..4).for_each(|_| away());
        captured.within(|| warn!("Something else"));
        assert_eq!(count(&captured, "Something else"), 1);
        while count(&captured, "Away") < 4 {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing is written any more");
            sleep(Duration::from_millis(50));
            away();
        }
        assert!(begun.elapsed() >= Duration::from_millis(900), "the second was not kept");
    }

    #[test]
    fn without_a_limit_all_is_written() {
        let captured = capture::logs(Telemetry { log_limit: 0, ..limited() });
        captured.within(|| (0..100).for_each(|_| warn!("Away")));
        assert_eq!((count(&captured, "Away"), captured.losses.log_lines()), (100, 0));
    }
}
