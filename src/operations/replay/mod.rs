//! Replay: events that were accepted are handled again, for recovery from an incident.
//!
//! What that means depends on how an event ended:
//!
//! | so far | replayed |
//! |---|---|
//! | waiting, held, dead | handed to the inbox again, from its first attempt on |
//! | settled, its announcement is there | unchanged: its effect stands |
//! | settled otherwise (superseded, rejected) | judged again by today's code; what today differs is changed, and its outcome replaced |
//! | quarantined | unchanged: `order-worker quarantine resolve` |
//! | rejected, dropped or skipped by a person, or with an incident that a person has resolved | left alone, unless it is said by name |
//!
//! # Never a second effect
//!
//! An event's announcement has an id that follows from the event's key and the status it asks for ([`event_id`]). It is looked for
//! first: when it is there, the change was made, whatever the order has become since. And judged again, an event meets the order's
//! facts but its own, so that it is no repetition of itself, and a repetition of any other stays one.
//!
//! # A run like a job's
//!
//! A replay is a run of the queue `cron` (see [`crate::engine::runs`]): a batch is one transaction with the run's place, so that one that is
//! killed at any instant goes on where it was and finishes once. It is paced by its rate, and by the rest after each batch.
//! A batch that fails is made again in parts, until the event that is to blame stands alone, which is counted and passed over.

mod batch;
mod event_id;
mod rehearse;
mod request;
mod work;

pub use batch::{Difference, batch};
pub use event_id::event_id;
pub use rehearse::{Rehearsal, rehearse};
pub use request::{Phase, REPLAY, Replay, Request, Share, Tally, ask, runs};
pub use work::{Judging, Replays};
