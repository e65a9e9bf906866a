-- runs/premature: the end of runs whose tick has not come, since the database's clock was ahead when they were made: ages are counted
-- back from the tick, and what is not old enough yet must stay. One that was not begun is made again when its tick comes; $1: jobs.
with premature as materialized (
    select r.id, r.kind <> 'manual' and r.started_at is null as unmade
    from order_worker.cron_runs r
    where r.finished_at is null and r.job = any($1) and r.tick > clock_timestamp() + interval '1 minute'
    for update skip locked
), gone as (
    delete from order_worker.pending p using premature where p.id = premature.id
), unmade as (
    delete from order_worker.cron_runs r using premature where r.id = premature.id and premature.unmade
)
update order_worker.cron_runs r
set finished_at = clock_timestamp(), outcome = 'failed',
    error = 'its tick has not come: the database''s clock was ahead when this run was made; order-worker cron run makes another'
from premature where r.id = premature.id and not premature.unmade
