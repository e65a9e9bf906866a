-- replay/runs: the last replays, the newest first; or the one with this id.
select id, tick as asked_at, started_at, finished_at, request, result,
       coalesce(outcome, case when started_at is null then 'waiting' else 'running' end) as outcome, error
from order_worker.cron_runs
where job = 'inbox_replay' and ($1::bigint is null or id = $1)
order by id desc
limit $2
