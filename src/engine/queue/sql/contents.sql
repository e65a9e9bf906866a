-- queue/contents: what each queue holds, and whether it is paused.
select n.queue, count(p.id) filter (where p.state in ('ready', 'waiting', 'blocked')) as pending,
       coalesce(extract(epoch from clock_timestamp() - min(p.created_at) filter (where p.state in ('ready', 'waiting'))), 0)::float8 as oldest_age,
       count(p.id) filter (where p.state = 'dead') as dead,
       count(p.id) filter (where p.state = 'blocked' and exists (
           select from order_worker.pending head
           where head.queue = p.queue and head.key = p.key and head.id < p.id and head.state = 'dead')) as parked,
       pause.paused_at, pause.paused_by, pause.reason as pause_reason
from unnest($1::text[]) with ordinality n (queue, place)
left join order_worker.pending p on p.queue = n.queue
left join order_worker.pauses pause on pause.queue = n.queue and pause.key = ''
group by n.queue, n.place, pause.queue, pause.key
order by n.place
