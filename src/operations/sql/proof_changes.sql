-- operations/proof_changes: changes of a day that were not announced, or more than once. Both carry the moment of their transaction.
-- What was changed before the worker's first announcement is the order service's own.
select h.order_id::text as subject,
       format('its change to %s at %s has %s announcements', h.new_status, to_char(h.created_at at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS.US"Z"'), a.n) as detail
from public.order_status_history h
cross join lateral (
    select count(*) as n from order_worker.outbox o
    where o.subject = h.order_id::text and o.topic = 'orders.order.status_changed' and o.body ->> 'new_status' = h.new_status
      and o.body ->> 'timestamp' = to_char(h.created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
) a
where h.created_at >= $1::timestamp at time zone 'utc' and h.created_at < ($1::timestamp + interval '1 day') at time zone 'utc'
  and h.created_at >= (select min(created_at) from order_worker.outbox where channel = 'dapr') and a.n <> 1
