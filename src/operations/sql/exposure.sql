-- operations/exposure: announcements and calls that were in hand when their worker died: they may have been sent more than once.
select e.queue, e.id, o.topic, o.subject as order_id, o.event_id::text as event_id, count(*) as times, max(e.found_at) as found_at
from order_worker.exposures e
left join order_worker.outbox o on o.id = e.id
where ($1::timestamptz is null or e.found_at >= $1)
group by e.queue, e.id, o.topic, o.subject, o.event_id
order by max(e.found_at) desc, e.id
limit $2
