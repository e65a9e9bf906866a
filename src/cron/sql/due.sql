-- cron/due: jobs whose next tick has come, and which have no run to be done; and those whose next tick was counted under a clock that was
-- ahead.
select j.job, j.schedule, j.time_zone, j.next_tick, clock_timestamp() as now
from order_worker.cron_jobs j
where (j.next_tick <= clock_timestamp() or j.counted_at > clock_timestamp() + interval '1 minute')
  and not order_worker.is_paused('cron', j.job)
  and not exists (select from order_worker.cron_runs r where r.job = j.job and r.finished_at is null)
