-- runs/renew: says of each job that is registered as it is run here that somebody is there, and tells whether one of the others is
-- nobody's any more. A row that is locked is in the hands of somebody who is there. $5: seconds for which that is sure.
with mine as materialized (
    select * from unnest($1::text[], $2::text[], $3::text[], $4::boolean[]) m (job, schedule, time_zone, enabled)
), seen as materialized (
    select j.job, (j.schedule, j.time_zone, j.next_tick is not null) = (m.schedule, m.time_zone, m.enabled) as same,
           order_worker.is_registered(j.registered_until, $5) as registered
    from order_worker.cron_jobs j join mine m using (job)
    for update of j skip locked
), renewed as (
    update order_worker.cron_jobs j set registered_until = clock_timestamp() + $5::float8 * interval '1 second'
    from seen where seen.job = j.job and seen.same
)
select count(*) > 0 from seen where not same and not registered
