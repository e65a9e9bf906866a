-- replay/announce: the announcements with these ids are sent again, unless they are pending still.
insert into order_worker.pending (queue, id, day, lane, key, edition)
select 'dapr', o.id, o.day, order_worker.lane(o.subject), o.subject, nextval('order_worker.journal_id')
from order_worker.outbox_keys k
cross join lateral (select * from order_worker.outbox o where o.day = k.day and o.id = k.id offset 0) o
where k.event_id = any($1::text[]::uuid[])
  and exists (select from order_worker.outbox_outcomes d where d.day = o.day and d.id = o.id and d.outcome = 'sent')
order by o.id
on conflict do nothing
