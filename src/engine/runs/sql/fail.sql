-- runs/fail: a batch failed: the run waits, or, after its last attempt, has failed; either way it says why. By compare-and-set: what
-- another worker has done with it meanwhile stays.
with hit as materialized (
    select id from order_worker.pending where id = $1 and attempts = $2 for update
), waiting as (
    update order_worker.pending p
    set state = 'waiting', due = clock_timestamp() + $3::float8 * interval '1 second', attempts = p.attempts + $4, last_error = $5
    from hit where p.id = hit.id and not $6
), ended as (
    delete from order_worker.pending p using hit where p.id = hit.id and $6
)
update order_worker.cron_runs r
set started_at = coalesce(r.started_at, clock_timestamp()), error = $5, worker = $7,
    finished_at = case when $6 then clock_timestamp() end, outcome = case when $6 then 'failed' end
from hit where r.id = hit.id
