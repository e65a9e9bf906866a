-- orders/context: the reservations and the payments of locked orders. After the lock, so that it sees what was committed before
-- the lock was ours.
select order_id, id as item_id, reservation_id, reservation_status, reserved_at, null as payment_id, null as kind
from public.order_items where order_id = any($1) and reservation_id is not null
union all
select order_id, null, null, null, null, payment_id, kind
from order_worker.payment_facts where order_id = any($1)
order by order_id, item_id
