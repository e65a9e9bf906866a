-- runs/history: the last runs of a job, the newest first; or the one with id $3.
select id, tick, kind, missed, missed_from, started_at, finished_at, worker, items, batches, passed_over,
       coalesce(outcome, case when started_at is null then 'waiting' else 'running' end) as outcome, error,
       case when result ? 'spared' then result end as spared
from order_worker.cron_runs
where job = $1 and ($3::bigint is null or id = $3)
order by id desc
limit $2
