-- replay/pass_over: the run goes on behind an event that failed alone, or is ended ($6: why). By compare-and-set, as every failure.
with hit as materialized (
    select id from order_worker.pending where id = $1 and attempts = $2 and state = 'ready' for update
), on_ as (
    update order_worker.pending p set attempts = 0 from hit where p.id = hit.id and $6::text is null
), ended as (
    delete from order_worker.pending p using hit where p.id = hit.id and $6::text is not null
)
update order_worker.cron_runs r
set cursor_at = $3, cursor_id = $4, result = $5, started_at = coalesce(r.started_at, clock_timestamp()),
    finished_at = case when $6 is not null then clock_timestamp() end, outcome = case when $6 is not null then 'failed' end, error = $6
from hit where r.id = hit.id
