-- runs/schedule: a tick becomes a run that is to be done, and the job's next tick moves on. Of all that try, one finds the next
-- tick as it was read.
with mine as materialized (
    select job from order_worker.cron_jobs where job = $1 and next_tick = $2 for update skip locked
), moved as (
    update order_worker.cron_jobs j set next_tick = $7 from mine where j.job = mine.job
), run as (
    insert into order_worker.cron_runs (job, tick, kind, missed, missed_from)
    select job, $3, $4, $5, $6 from mine
    on conflict (job, tick) do nothing
    returning id, job
)
insert into order_worker.pending (queue, id, day, lane, key) select 'cron', id, order_worker.today(), 0, job from run
