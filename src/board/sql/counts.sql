-- board/counts: what the queues have to do, have in hand and have given up.
select q.queue, count(p.id) filter (where p.state = 'ready' and w.worker is null) as pending,
       count(p.id) filter (where w.worker is not null) as running,
       count(p.id) filter (where p.state in ('waiting', 'blocked')) as queued,
       count(p.id) filter (where p.state = 'dead') as dead,
       count(p.id) filter (where p.state in ('held', 'quarantined')) as failed
from unnest($1::text[]) q (queue)
left join order_worker.pending p on p.queue = q.queue
left join order_worker.workers w on w.queue = p.queue and p.id = any(w.in_hand) and w.lease_until > clock_timestamp()
group by q.queue
