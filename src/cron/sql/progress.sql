-- cron/progress: a batch is done, and with the last one the run; $8: the reason for which it is ended before;
-- $9: seconds from this batch's beginning to the next. In one transaction with the batch's effects.
with run as (
    update order_worker.cron_runs
    set started_at = coalesce(started_at, now()), worker = $2, items = items + $3, batches = batches + 1,
        cursor_at = $4, cursor_id = $5,
        result = coalesce($7, result), error = $8,
        finished_at = case when $6 then clock_timestamp() end,
        outcome = case when not $6 then null when $8::text is null then 'succeeded' else 'failed' end
    where id = $1
    returning *
), done as (
    delete from order_worker.pending where id = $1 and $6
), goes_on as (
    -- Whoever makes the next batch keeps to the rate as well.
    update order_worker.pending set attempts = 0, last_error = null, due = now() + $9::float8 * interval '1 second'
    where id = $1 and not $6 and (attempts > 0 or $9 > 0)
), success as (
    update order_worker.cron_jobs j set last_success_at = run.finished_at from run where j.job = run.job and run.outcome = 'succeeded'
)
select kind, missed, items, batches, extract(epoch from coalesce(finished_at, clock_timestamp()) - started_at)::float8 as seconds
from run
