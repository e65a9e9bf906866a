-- console/workers: who is alive, with its lanes and what it has in hand.
select w.worker, w.queue, w.started_at, (select count(*) from order_worker.lanes l where l.queue = w.queue and l.owner = w.worker) as lanes,
       cardinality(w.in_hand) as in_hand
from order_worker.workers w
where w.lease_until > clock_timestamp()
order by w.worker, w.queue
