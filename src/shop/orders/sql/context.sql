-- orders/context: the reservations, the payments and the refunds (by their own ids) of locked orders. After the lock, so that it sees what was committed before
-- the lock was ours. An item that somebody else has locked makes its order one that somebody else changes just now: `locked` is false.
with item as materialized (
    select id, order_id, reservation_id, reservation_status, reserved_at
    from public.order_items where order_id = any(order_worker.order_keys($1)) and reservation_id <> '' order by id for no key update skip locked
)
select order_id, item_id::text as item_id, locked, reservation_id, reservation_status, reserved_at, payment_id, kind,
       amount, currency
from (
    select i.order_id::text as order_id, i.id as item_id, m.id is not null as locked, m.reservation_id, m.reservation_status,
           order_worker.finite(m.reserved_at) as reserved_at, null as payment_id, null as kind, null::numeric as amount,
           null as currency
    from (select id, order_id from public.order_items where order_id = any(order_worker.order_keys($1)) and reservation_id <> '') i
    left join item m on m.id = i.id and m.order_id = i.order_id
    union all
    select order_id, null, true, null, null, null, payment_id, kind, amount, currency
    from order_worker.payment_facts where order_id = any($1)
    union all
    select order_id, null, true, null, null, null, refund_id, 'refunded', amount, currency
    from order_worker.refund_facts where order_id = any($1)
) known
order by known.order_id, known.item_id
