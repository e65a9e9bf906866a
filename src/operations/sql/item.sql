-- operations/item: the order and the reservation of an item.
select order_id::text as order_id, reservation_id::text as reservation_id from public.order_items where id = order_worker.item_key($1)
