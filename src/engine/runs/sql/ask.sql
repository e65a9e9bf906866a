-- runs/ask: a run that an operator asks for; $2: what of, where its job takes a request. Under the job's lock, so that the ids of its
-- runs rise as they are committed.
with mine as materialized (
    select job from order_worker.cron_jobs where job = $1 for update
), run as (
    insert into order_worker.cron_runs (job, tick, kind, request) select job, clock_timestamp(), 'manual', $2 from mine returning id, job, tick
), queued as (
    insert into order_worker.pending (queue, id, day, lane, key) select 'cron', id, order_worker.today(), 0, job from run
)
select id, tick from run
