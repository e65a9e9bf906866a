-- replay/ask: a replay that an operator asks for. Under the lock of its job, so that the ids of its runs rise as they are committed.
with mine as materialized (
    select job from order_worker.cron_jobs where job = 'inbox_replay' for update
), run as (
    insert into order_worker.cron_runs (job, tick, kind, request) select job, clock_timestamp(), 'manual', $1 from mine returning id, job
), queued as (
    insert into order_worker.pending (queue, id, day, lane, key) select 'cron', id, order_worker.today(), 0, job from run
)
select id from run
