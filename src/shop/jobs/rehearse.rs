//! A rehearsal of a job's run.

use super::batch::batch;
use super::{Evidence, Ground, Job, Spared, Terms};
use crate::engine::runs::Run;
use crate::platform::database::PgPool;

/// What a run of this job would change now, batch by batch of `size`, and what it would spare: each batch is made and rolled back. `report`
/// gets the ids of a batch.
///
/// # Errors
///
/// The database's; also when the job was never registered.
pub async fn rehearse(
    pool: &PgPool,
    job: Job,
    size: u32,
    terms: &Terms,
    mut report: impl FnMut(&[String]),
) -> Result<(u64, Spared), sqlx::Error> {
    // As of the last look, where a run would wait for the next.
    let evidence = Evidence::read(&mut *pool.acquire().await?, terms).await?;
    let tick = match evidence.now_known() {
        Ok(Ground::Streams(watermark)) => watermark,
        _ => evidence.now,
    };
    let mut run = Run::first(job.as_str().to_owned(), tick);
    let (mut items, mut spared) = (0, Spared::default());
    loop {
        let mut tx = pool.begin().await?;
        // As a run: no other of the job beside it.
        sqlx::query("select from order_worker.cron_jobs where job = $1 for update")
            .bind(job.as_str())
            .execute(&mut *tx)
            .await?;
        let done = batch(&mut tx, job.rule(), &run, size, terms).await?;
        tx.rollback().await?;
        // A look at which the watermark was farther behind.
        if !done.pause.is_zero() {
            tokio::time::sleep(done.pause).await;
            continue;
        }
        report(&done.items);
        items += done.items.len() as u64;
        spared = done.spared.and(Some(spared));
        if done.last {
            return Ok((items, spared));
        }
        run.cursor = done.cursor;
    }
}
