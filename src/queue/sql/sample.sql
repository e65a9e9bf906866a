-- queue/sample: what the queues hold, for the gauges. Proportional to what is not finished, never to history.
select p.queue,
       count(*) filter (where p.state in ('ready', 'waiting', 'blocked')) as pending,
       coalesce(extract(epoch from clock_timestamp() - min(p.created_at) filter (where p.state in ('ready', 'waiting'))), 0)::float8 as oldest_age,
       count(*) filter (where p.state = 'dead') as dead,
       count(*) filter (where p.state = 'blocked' and exists (
           select from order_worker.pending head
           where head.queue = p.queue and head.key = p.key and head.id < p.id and head.state = 'dead')) as parked
from order_worker.pending p
group by p.queue
