-- runs/forget: runs that finished long ago; of each job the last stays.
delete from order_worker.cron_runs r
where r.finished_at < clock_timestamp() - $1::float8 * interval '1 second'
  and exists (select from order_worker.cron_runs newer where newer.job = r.job and newer.tick > r.tick)
