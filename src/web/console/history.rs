//! The last hour, kept in memory: the backlog, for pictures, and the throughput.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::page::Line;
use crate::engine::queue::{Queue, contents};
use crate::operations::QUEUES;
use crate::platform::database::PgPool;

const EVERY: Duration = Duration::from_secs(10);
/// An hour of samples.
const SAMPLES: usize = 360;
/// The picture's size, as in templates/sections.html.
const WIDTH: usize = 600;
const HEIGHT: f64 = 120.0;

/// One sample.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Instant,
    /// Rows to be done, by queue.
    pending: [i64; 4],
    /// Rows that went into the journals since the sample before: events accepted, events settled, messages sent.
    through: [i64; 3],
}

/// A throughput, in rows a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// The name of its rows.
    pub name: &'static str,
    /// In the last minute.
    pub minute: f64,
    /// In the last hour, or since the console has started.
    pub hour: f64,
}

/// The samples of the last hour, the oldest first.
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<Moment>>);

impl History {
    /// Takes samples for as long as it is polled.
    pub async fn keep(&self, pool: &PgPool) {
        let mut before = None;
        loop {
            match look(pool).await {
                Ok((pending, counters)) => {
                    // A day that was dropped takes its count along.
                    let through = before.map_or([0; 3], |before: [i64; 3]| {
                        std::array::from_fn(|n| counters[n].saturating_sub(before[n]).max(0))
                    });
                    before = Some(counters);
                    self.add(Moment { at: Instant::now(), pending, through });
                }
                // Rows that go through meanwhile belong to no sample.
                Err(_) => before = None,
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn add(&self, moment: Moment) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back(moment);
        while samples.len() > SAMPLES {
            samples.pop_front();
        }
    }

    /// The throughput. None before there are two samples.
    pub fn rates(&self) -> Option<[Rate; 3]> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = samples.back()?.at;
        if samples.len() < 2 {
            return None;
        }
        let over = |n: usize, window: Duration| {
            let first = samples.iter().position(|one| last.duration_since(one.at) <= window).unwrap_or_default();
            let seconds = last.duration_since(samples[first].at).as_secs_f64();
            let rows: i64 = samples.range(first + 1..).map(|one| one.through[n]).sum();
            #[expect(clippy::cast_precision_loss, reason = "a page shows three digits")]
            let rate = rows as f64 / seconds.max(f64::MIN_POSITIVE);
            rate
        };
        let names = ["events accepted", "events settled", "messages sent"];
        Some(std::array::from_fn(|n| Rate {
            name: names[n],
            minute: over(n, Duration::from_secs(60)),
            hour: over(n, Duration::from_secs(3_600)),
        }))
    }

    /// A line a queue, and the value at the upper edge. None before there are two samples.
    pub fn picture(&self) -> Option<(Vec<Line>, i64)> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() < 2 {
            return None;
        }
        let top = samples.iter().flat_map(|one| one.pending).max().unwrap_or(0).max(1);
        let lines = QUEUES.into_iter().enumerate().map(|(n, queue)| {
            let points = samples.iter().enumerate().map(|(at, sample)| {
                let x = WIDTH - (samples.len() - 1 - at) * WIDTH / (SAMPLES - 1);
                #[expect(clippy::cast_precision_loss, reason = "a picture has 120 lines")]
                let y = HEIGHT - 2.0 - sample.pending[n] as f64 / top as f64 * (HEIGHT - 4.0);
                format!("{x},{y:.1}")
            });
            Line { name: queue.as_str(), points: points.collect::<Vec<_>>().join(" ") }
        });
        Some((lines.collect(), top))
    }
}

/// Rows to be done by queue, and the counters of the journals.
async fn look(pool: &PgPool) -> Result<([i64; 4], [i64; 3]), sqlx::Error> {
    let queues = contents(pool, &QUEUES).await?;
    let of = |queue: Queue| queues.iter().find(|one| one.queue == queue.as_str()).map_or(0, |one| one.pending);
    let (accepted, settled, sent) = sqlx::query_as(include_str!("sql/through.sql")).fetch_one(pool).await?;
    Ok((QUEUES.map(of), [accepted, settled, sent]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(looks: &[(u64, [i64; 4], [i64; 3])]) -> History {
        let history = History::default();
        let start = Instant::now();
        for (seconds, pending, through) in looks {
            history.add(Moment { at: start + Duration::from_secs(*seconds), pending: *pending, through: *through });
        }
        history
    }

    #[test]
    fn the_newest_sample_is_at_the_right_edge_and_the_largest_at_the_top() {
        assert!(History::default().picture().is_none());
        let history = with(&[(0, [0; 4], [0; 3]), (10, [5, 10, 0, 0], [0; 3])]);
        let (lines, top) = history.picture().unwrap();
        assert_eq!(top, 10);
        assert_eq!(lines[1].points, "599,118.0 600,2.0");
    }

    #[test]
    fn a_rate_counts_what_came_after_the_first_look_of_its_window() {
        assert!(with(&[(0, [0; 4], [7; 3])]).rates().is_none());
        let [accepted, settled, sent] =
            with(&[(0, [0; 4], [9; 3]), (40, [0; 4], [400, 0, 40]), (100, [0; 4], [60, 30, 0])]).rates().unwrap();
        assert_eq!((accepted.minute, accepted.hour), (1.0, 4.6));
        assert_eq!((settled.minute, settled.hour), (0.5, 0.3));
        assert_eq!((sent.minute, sent.hour), (0.0, 0.4));
    }
}
