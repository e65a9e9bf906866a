-- board/workers: who is alive. The inbox and the jobs have no leases: whoever has one is alive for all.
select w.worker, w.queue, extract(epoch from w.started_at)::bigint as started, extract(epoch from clock_timestamp())::bigint as now
from order_worker.workers w
where w.lease_until > clock_timestamp() and (w.queue = any($1) or $2)
order by w.worker
