-- runs/register: what a worker runs, and when. A tick that has come and has no run yet is kept, whatever the new schedule says.
-- $5: seconds for which that is sure; $6: also where another worker is there that runs it otherwise.
insert into order_worker.cron_jobs (job, schedule, time_zone, next_tick, registered_until)
select job, schedule, time_zone, next_tick, clock_timestamp() + $5::float8 * interval '1 second'
from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) mine (job, schedule, time_zone, next_tick)
on conflict (job) do update
set schedule = excluded.schedule, time_zone = excluded.time_zone, registered_until = excluded.registered_until,
    next_tick = case when (cron_jobs.schedule, cron_jobs.time_zone, cron_jobs.next_tick is null)
                          = (excluded.schedule, excluded.time_zone, excluded.next_tick is null) then cron_jobs.next_tick
                     when excluded.next_tick is null or cron_jobs.next_tick is null or cron_jobs.next_tick > clock_timestamp()
                     then excluded.next_tick else cron_jobs.next_tick end
where $6 or not order_worker.is_registered(cron_jobs.registered_until, $5)
