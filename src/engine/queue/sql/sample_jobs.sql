-- queue/sample_jobs: how long ago each job last succeeded, 0 for one that is disabled; and for how long its tick has been due while no
-- run of it is made or paused.
select job, case when next_tick is null then 0
                 else extract(epoch from clock_timestamp() - coalesce(last_success_at, registered_at)) end::float8,
       case when order_worker.is_paused('cron', job)
                 or exists (select from order_worker.cron_runs r where r.job = j.job and r.finished_at is null) then 0
            else greatest(coalesce(extract(epoch from clock_timestamp() - next_tick), 0), 0) end::float8
from order_worker.cron_jobs j
