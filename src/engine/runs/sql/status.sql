-- runs/status: how far a run has come: what it has looked at, where it counts that, or changed; why it failed, why it
-- waits, or what it passed over.
select coalesce((result ->> 'seen')::bigint, items) as seen, finished_at is not null as finished,
       case when outcome = 'failed' then error end as error, case when outcome is distinct from 'failed' then error end as problem
from order_worker.cron_runs
where id = $1
