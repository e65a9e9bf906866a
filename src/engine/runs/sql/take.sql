-- runs/take: the run whose next batch is to be made, ours until the transaction ends: the job's row is the lock, and no later run
-- of a job begins before an earlier one is finished. Runs with few batches come first, so that a long one holds up no other.
select r.id, r.job, r.tick, r.cursor_at, r.cursor_id, r.request, r.result, r.batches, r.passed_over, p.attempts
from order_worker.cron_runs r
join order_worker.pending p on p.id = r.id
join order_worker.cron_jobs j on j.job = r.job
where r.finished_at is null and p.state = 'ready' and r.job = any($1)
  -- A wait of more than an hour was written under a clock that was ahead.
  and p.due not between clock_timestamp() and clock_timestamp() + interval '1 hour'
  and not order_worker.is_paused('cron', r.job)
  and not exists (
      select from order_worker.cron_runs older where older.job = r.job and older.finished_at is null and older.id < r.id)
order by r.batches, r.id
limit 1
for update of j, r, p skip locked
