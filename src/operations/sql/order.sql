-- operations/order: an order as it stands, with its reservations.
select o.id::text as id, o.order_number::text as order_number, o.status, o.payment_method, o.delivered, o.currency, o.total_amount::text as total_amount,
       order_worker.finite(o.created_at) as created_at,
       coalesce((select jsonb_agg(jsonb_build_object('item', i.id, 'sku', i.sku, 'quantity', i.quantity,
                    'reservation', i.reservation_id, 'reservation_status', i.reservation_status) order by i.id)
                 from public.order_items i where i.order_id = o.id), '[]') as items
from public.orders o where o.id = order_worker.order_key($1)
