-- replay/bodies: the bodies of events that are judged again.
select i.id, i.body, i.traceparent, i.received_at
from unnest($1::date[], $2::bigint[]) t (day, id)
cross join lateral (select * from order_worker.inbox i where i.day = t.day and i.id = t.id offset 0) i
