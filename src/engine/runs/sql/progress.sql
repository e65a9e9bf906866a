-- runs/progress: a batch is done, and with the last one the run; $8: the reason for which it is ended before; $10: a row that could not
-- be done was passed over, with $11 for the reason; $9: seconds from this batch's beginning to the next. In one transaction with the
-- batch's effects. A run in which nothing got through but rows were passed over has failed.
with run as (
    update order_worker.cron_runs
    set started_at = coalesce(started_at, now()), worker = $2, items = items + $3, batches = batches + 1 - $10,
        passed_over = passed_over + $10, cursor_at = $4, cursor_id = $5,
        result = coalesce($7, result), error = coalesce($8, $11, case when passed_over > 0 then error end),
        finished_at = case when $6 then clock_timestamp() end,
        outcome = case when not $6 then null
                       when $8::text is not null or (passed_over > 0 and batches = 0 and $3 = 0) then 'failed'
                       else 'succeeded' end
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
select kind, missed, items, batches, passed_over, outcome, error,
       extract(epoch from coalesce(finished_at, clock_timestamp()) - started_at)::float8 as seconds
from run
