-- orders/reserve: what the warehouse is to be asked: the items' intent ($9, $10), and an outbox row for each reservation of an order,
-- however many items share it. A reservation's calls keep their order by their key. `order_item_id`, the first of the items, is for
-- workers of the version before.
with call as (
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[])
        with ordinality as t (order_id, reservation_id, item_id, method, reason, cause, traceparent, received_at, ord)
), intended as (
    update public.order_items set reservation_status = ($10::text[])[array_position($9::text[], id::text)]
    where id = any(order_worker.item_keys($9))
)
select order_worker.append_outbox(
    array_agg(cause order by ord), array_agg('warehouse'::text), array_agg(method order by ord), array_agg(order_id order by ord),
    array_agg(reservation_id order by ord), array_agg(method || ' ' || reservation_id order by ord),
    array_agg(jsonb_build_object('reservation_id', reservation_id, 'order_item_id', order_worker.item_key(item_id), 'reason', reason) order by ord),
    array_agg(traceparent order by ord), array_agg(received_at order by ord))
from call
having count(*) > 0
