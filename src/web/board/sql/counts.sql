-- board/counts: what the queues have to do, have in hand and have given up.
with hand as (
    select w.queue, unnest(w.in_hand) as id from order_worker.workers w where w.lease_until > clock_timestamp()
)
select q.queue, count(p.id) filter (where p.state = 'ready' and h.id is null) as pending,
       count(p.id) filter (where h.id is not null) as running,
       count(p.id) filter (where h.id is null and p.state in ('waiting', 'blocked')) as queued,
       count(p.id) filter (where h.id is null and p.state = 'dead') as dead,
       count(p.id) filter (where h.id is null and p.state in ('held', 'quarantined')) as failed
from unnest($1::text[]) q (queue)
left join order_worker.pending p on p.queue = q.queue
left join hand h on h.queue = p.queue and h.id = p.id
group by q.queue
