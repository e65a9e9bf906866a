//! What is counted in the database from time to time, because no process alone knows it.

use std::time::Duration;

use super::labels::{IncidentKind, Job, Queue, Reason};

/// One look at the queues and the incidents. What is not listed is zero: a grouped count has no
/// row for nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Each queue that has anything.
    pub queues: Vec<(Queue, QueueSample)>,
    /// Open incidents by kind.
    pub incidents_open: Vec<(IncidentKind, i64)>,
    /// Queues that nothing is taken from by this process.
    pub paused: Vec<Queue>,
    /// How long ago everything was published that is in the inbox, seconds; none: nobody knows, or nobody looks.
    pub watermark_age: Option<f64>,
    /// Why jobs do not give up what they would.
    pub cleanup_blocked: Vec<Reason>,
    /// Streams with something wrong.
    pub stream_alerts: i64,
    /// How long the oldest snapshot is seen that a transaction, a slot or a prepared transaction holds; at the least.
    pub oldest_snapshot: Duration,
    /// Days from tomorrow on that have all their partitions; at most 31.
    pub partitions_ready: i64,
    /// Events that came with a known id and another body, and wait for an operator.
    pub quarantined: i64,
    /// What the last conservation proof found, and how long ago it was made.
    pub proof: Option<(i64, Duration)>,
    /// Since the last success of each registered job.
    pub since_success: Vec<(Job, Duration)>,
}

/// What one queue holds. Counts of rows, as `count(*)` gives them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueSample {
    /// To be done, those that wait for their next attempt included.
    pub pending: i64,
    /// Since the oldest pending row was created.
    pub oldest_age: Duration,
    /// Given up, until an operator acts.
    pub dead: i64,
    /// Waiting behind a dead row of their key.
    pub parked: i64,
}
