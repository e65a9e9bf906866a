-- cron/standing: how far a run has come: what it has looked at, where it counts that, or changed.
select coalesce((result ->> 'seen')::bigint, items) as seen, finished_at is not null as finished, error
from order_worker.cron_runs
where id = $1
