-- cron/progress: a batch is done, and with the last one the run. In one transaction with the batch's effects.
with run as (
    update order_worker.cron_runs
    set started_at = coalesce(started_at, now()), worker = $2, items = items + $3, batches = batches + 1,
        cursor_at = $4, cursor_id = $5,
        finished_at = case when $6 then clock_timestamp() end, outcome = case when $6 then 'succeeded' end
    where id = $1
    returning *
), done as (
    delete from order_worker.pending where id = $1 and $6
), success as (
    update order_worker.cron_jobs j set last_success_at = run.finished_at from run where j.job = run.job and $6
)
select kind, missed, items, batches, extract(epoch from coalesce(finished_at, clock_timestamp()) - started_at)::float8 as seconds
from run
