-- operations/bulk_runs: the last runs over dead rows, the newest first; or the one with this id.
select id, tick as asked_at, finished_at, request, coalesce((result ->> 'seen')::bigint, 0) as seen, items,
       coalesce(outcome, case when started_at is null then 'waiting' else 'running' end) as outcome, error
from order_worker.cron_runs
where job = 'dead_letters' and ($1::bigint is null or id = $1)
order by id desc
limit $2
