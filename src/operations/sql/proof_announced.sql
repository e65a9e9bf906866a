-- operations/proof_announced: changes that were announced on a day without a row of history, or with more than one. What a caller has
-- announced in its own words has another id.
select o.subject, format('%s was announced (%s), and its history has %s such rows', o.body ->> 'new_status', o.event_id, h.n) as detail
from order_worker.outbox o
cross join lateral (
    select count(*) as n from public.order_status_history h
    where h.order_id = order_worker.order_key(o.subject) and h.new_status = o.body ->> 'new_status'
      and to_char(h.created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') = o.body ->> 'timestamp'
) h
where o.day = $1 and o.topic = 'orders.order.status_changed' and h.n <> 1
  and o.body ->> 'timestamp' is not null
  and o.event_id = order_worker.event_id(o.cause, 'dapr', o.topic, o.subject, o.body ->> 'new_status')
