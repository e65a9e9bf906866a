-- runs/due: jobs that have no run to be done, with their next tick and the last one that was run.
select j.job, j.schedule, j.time_zone, j.next_tick, clock_timestamp() as now,
       (select max(r.tick) from order_worker.cron_runs r where r.job = j.job and r.kind <> 'manual' and r.tick <= now()) as last_tick
from order_worker.cron_jobs j
where j.next_tick is not null and not order_worker.is_paused('cron', j.job)
  and not exists (select from order_worker.cron_runs r where r.job = j.job and r.finished_at is null)
