-- operations/message: everything about the announcement or call with this id.
select s.id, s.day, s.event_id, s.channel, s.topic, s.order_id, s.state, s.attempts, s.reason, s.cause, s.created_at, s.sent_at,
       s.waits, s.due, 0::bigint as behind, o.traceparent, o.body
from order_worker.outbox_status s
join order_worker.outbox o on o.day = s.day and o.id = s.id
where ($1::text is not null and s.event_id = $1) or ($2::bigint is not null and s.id = $2)
