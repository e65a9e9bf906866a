-- operations/event: everything about the events with this CloudEvent id, or the one with this number.
select s.id, s.day, s.topic, s.source, s.event_id, s.order_id, s.payment_id, s.outcome, s.reason, s.received_at, s.settled_at,
       s.duplicates, i.event_type, i.headers, i.traceparent, i.body, encode(i.key, 'hex') as cause
from order_worker.inbox_status s
join order_worker.inbox i on i.day = s.day and i.id = s.id
where ($1::text is not null and s.event_id = $1) or ($2::bigint is not null and s.id = $2)
order by s.id
