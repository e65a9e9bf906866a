//! The backlog over the last hour, kept in memory for pictures.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgPool;

use super::page::Line;
use crate::queue::{Queue, contents};

const EVERY: Duration = Duration::from_secs(10);
/// An hour of samples.
const SAMPLES: usize = 360;
/// The picture's size, as in templates/sections.html.
const WIDTH: usize = 600;
const HEIGHT: f64 = 120.0;

/// Rows to be done by queue, the oldest sample first.
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<[i64; 4]>>);

impl History {
    /// Samples for as long as it is polled.
    pub async fn keep(&self, pool: &PgPool) {
        loop {
            if let Ok(queues) = contents(pool).await {
                let of =
                    |queue: Queue| queues.iter().find(|one| one.queue == queue.as_str()).map_or(0, |one| one.pending);
                let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                samples.push_back(Queue::ALL.map(of));
                while samples.len() > SAMPLES {
                    samples.pop_front();
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// A line a queue, and the value at the upper edge. None before there are two samples.
    pub fn picture(&self) -> Option<(Vec<Line>, i64)> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() < 2 {
            return None;
        }
        let top = samples.iter().flatten().copied().max().unwrap_or(0).max(1);
        let lines = Queue::ALL.into_iter().enumerate().map(|(n, queue)| {
            let points = samples.iter().enumerate().map(|(at, sample)| {
                let x = WIDTH - (samples.len() - 1 - at) * WIDTH / (SAMPLES - 1);
                #[expect(clippy::cast_precision_loss, reason = "a picture has 120 lines")]
                let y = HEIGHT - 2.0 - sample[n] as f64 / top as f64 * (HEIGHT - 4.0);
                format!("{x},{y:.1}")
            });
            Line { name: queue.as_str(), points: points.collect::<Vec<_>>().join(" ") }
        });
        Some((lines.collect(), top))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_sample_is_at_the_right_edge_and_the_largest_at_the_top() {
        let history = History::default();
        assert!(history.picture().is_none());
        history.0.lock().unwrap().extend([[0, 0, 0, 0], [5, 10, 0, 0]]);
        let (lines, top) = history.picture().unwrap();
        assert_eq!(top, 10);
        assert_eq!(lines[1].points, "599,118.0 600,2.0");
    }
}
