-- cron/register: what a worker runs, and when. A tick that has come and has no run yet is kept, whatever the new schedule says.
insert into order_worker.cron_jobs (job, schedule, time_zone, next_tick)
select * from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[])
on conflict (job) do update
set schedule = excluded.schedule, time_zone = excluded.time_zone, counted_at = excluded.counted_at,
    next_tick = case when excluded.next_tick is null or cron_jobs.next_tick is null or cron_jobs.next_tick > clock_timestamp()
                     then excluded.next_tick else cron_jobs.next_tick end
where (cron_jobs.schedule, cron_jobs.time_zone, cron_jobs.next_tick is null)
      is distinct from (excluded.schedule, excluded.time_zone, excluded.next_tick is null)
