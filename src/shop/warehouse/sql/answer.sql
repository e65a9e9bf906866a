-- warehouse/answer: of calls that are settled, the answer: all items of the order that share the reservation learn it, unless their intent
-- has changed meanwhile, and what was refused is an incident.
with answer as materialized (
    select a.order_id, a.reservation_id, a.confirms, a.refused, a.reason, b.cause
    from unnest($1::bigint[], $2::date[], $3::text[], $4::text[], $5::boolean[], $6::boolean[], $7::text[])
        as a (id, day, order_id, reservation_id, confirms, refused, reason)
    cross join lateral (select cause from order_worker.outbox o where o.day = a.day and o.id = a.id offset 0) b
), answered as (
    update public.order_items i
    set reservation_status = case when a.refused then 'refused' when a.confirms then 'confirmed' else 'released' end
    from answer a
    where i.order_id = any(order_worker.order_keys($3))
      and i.order_id = order_worker.order_key(a.order_id) and i.reservation_id = a.reservation_id
      and i.reservation_status = case when a.confirms then 'confirming' else 'releasing' end
)
insert into order_worker.incident_journal (kind, subject, cause, reference, detail)
select case when confirms then 'paid_unreserved' else 'not_released' end, order_id, cause, reservation_id,
       format('the warehouse refused to %s reservation %s: %s', case when confirms then 'confirm' else 'release' end,
              reservation_id, reason)
from answer where refused
on conflict do nothing
