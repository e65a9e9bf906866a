-- operations/proof_statuses: orders that changed on a day, whose history has a move that the machine does not have, or does not end
-- in the order's status.
with changed as (
    select distinct order_id from public.order_status_history
    where created_at >= $1::timestamp at time zone 'utc' and created_at < ($1::timestamp + interval '1 day') at time zone 'utc'
), step as (
    select h.order_id, h.id, h.old_status, h.new_status, h.created_at,
           row_number() over (
               partition by h.order_id
               -- Numbers rise as changes are committed; other ids say nothing of time, and the steps of one transaction have one moment.
               order by case when pg_typeof(h.id) in ('bigint'::regtype, 'integer'::regtype) then h.id::text::bigint end desc,
                        h.created_at desc, h.new_status = o.status desc) as from_last
    from public.order_status_history h
    join changed c using (order_id)
    left join public.orders o on o.id = h.order_id
)
select o.id::text as subject, format('it is %s, and its last change was to %s', o.status, s.new_status) as detail
from step s join public.orders o on o.id = s.order_id
where s.from_last = 1 and o.status <> s.new_status
union all
select s.order_id::text, format('its history has the move from %s to %s', s.old_status, s.new_status)
from step s
where s.old_status is not null
  and s.created_at >= (select min(created_at) from order_worker.outbox where channel = 'dapr')
  and not exists (select from order_worker.legal_moves m where m.old_status = s.old_status and m.new_status = s.new_status)
