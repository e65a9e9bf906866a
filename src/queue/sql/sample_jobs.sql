-- queue/sample_jobs: how long ago each job last succeeded; 0 for one that is disabled.
select job, case when next_tick is null then 0
                 else extract(epoch from clock_timestamp() - coalesce(last_success_at, registered_at)) end::float8
from order_worker.cron_jobs
