-- runs/list: each of these jobs with its last run; without a schedule: never registered.
select n.job, j.schedule, j.time_zone, j.next_tick, j.last_success_at,
       r.tick as last_tick, r.kind as last_kind, r.started_at as last_started_at, r.finished_at as last_finished_at,
       case when r.id is not null then coalesce(r.outcome, case when r.started_at is null then 'waiting' else 'running' end) end as last_outcome,
       r.items as last_items, r.error as last_error,
       case when r.result ? 'spared' then r.result end as last_spared,
       p.paused_at, p.paused_by, p.reason as pause_reason
from unnest($1::text[]) with ordinality n (job, place)
left join order_worker.cron_jobs j using (job)
left join lateral (
    select * from order_worker.cron_runs r where r.job = n.job order by r.id desc limit 1) r on true
left join lateral (
    select * from order_worker.pauses p where p.queue = 'cron' and p.key in ('', n.job) order by p.key limit 1) p on true
order by n.place
