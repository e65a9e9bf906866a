//! A rehearsal of a replay: its batches are made and rolled back.

use std::collections::BTreeMap;

use super::request::write;
use super::{Difference, Request, Tally, batch};
use crate::engine::runs::Cursor;
use crate::operations::Error;
use crate::platform::database::PgPool;
use crate::shop::orders::AmountMismatch;

/// Events of one batch.
const BATCH: u32 = 5_000;

/// The result of a rehearsal.
#[derive(Debug, Default)]
pub struct Rehearsal {
    /// The counts that the replay would have.
    pub tally: Tally,
    /// Differences by their lines, with how many events differ so: memory stays as it is, however many there are.
    pub groups: BTreeMap<Vec<String>, Alike>,
    /// Whether all of the selection was looked at.
    pub complete: bool,
}

/// Events that differ alike.
#[derive(Debug)]
pub struct Alike {
    /// The number of rows.
    pub events: u64,
    /// The CloudEvent id of one of them.
    pub event_id: String,
    /// Its order.
    pub order_id: String,
}

/// Goes through the selection, its first share and the rest alike, as long as `goes_on` says so of what was seen.
pub async fn rehearse(
    pool: &PgPool,
    request: &Request,
    on_mismatch: AmountMismatch,
    goes_on: impl Fn(&Tally) -> bool,
) -> Result<Rehearsal, Error> {
    let request = Request { canary: None, ..request.clone() };
    let mut rehearsal = Rehearsal { tally: request.begin(), ..Rehearsal::default() };
    let mut cursor = Cursor::default();
    while !rehearsal.complete && goes_on(&rehearsal.tally) {
        let mut tx = pool.begin().await?;
        // A run that nobody will ever see: it is rolled back with everything else.
        let run = write(&mut tx, &request).await?;
        let step = batch(&mut tx, run, &request, &rehearsal.tally, &cursor, BATCH, on_mismatch).await?;
        tx.rollback().await?;
        rehearsal.tally = step.counted(&rehearsal.tally);
        rehearsal.complete = step.last;
        cursor = step.cursor;
        let differing = [step.again, step.changed, step.decided, step.announced].into_iter().flatten();
        for Difference { event_id, order_id, lines } in differing {
            rehearsal.groups.entry(lines).or_insert(Alike { events: 0, event_id, order_id }).events += 1;
        }
    }
    Ok(rehearsal)
}
