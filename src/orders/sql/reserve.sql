-- orders/reserve: what the warehouse is to be asked: the item's intent and the outbox row. A reservation's calls keep their order.
with call as (
    select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[])
        with ordinality as t (item_id, order_id, reservation_id, method, intent, reason, cause, traceparent, received_at, ord)
), intended as (
    update public.order_items set reservation_status = ($5::text[])[array_position($1, id)] where id = any($1)
)
select order_worker.append_outbox(
    array_agg(cause order by ord), array_agg('warehouse'::text), array_agg(method order by ord), array_agg(order_id order by ord),
    array_agg(reservation_id order by ord), array_agg(method || ' ' || reservation_id order by ord),
    array_agg(jsonb_build_object('reservation_id', reservation_id, 'order_item_id', item_id, 'reason', reason) order by ord),
    array_agg(traceparent order by ord), array_agg(received_at order by ord))
from call
having count(*) > 0
