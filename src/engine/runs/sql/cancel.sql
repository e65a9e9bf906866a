-- runs/cancel: a run is ended where it stands; what its batches have done stays. Waits for a batch that is under way.
with ended as (
    update order_worker.cron_runs
    set finished_at = clock_timestamp(), outcome = 'failed', error = $2
    where id = $1 and finished_at is null
    returning id, job
), gone as (
    delete from order_worker.pending p using ended where p.id = ended.id
)
select job from ended
