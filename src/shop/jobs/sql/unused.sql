-- jobs/unused: reservations made before $1 and asked about by nobody, of orders that may have given them up. Without a time of
-- their own they are as old as their order.
select nullif(coalesce(i.reserved_at, '-infinity'), '-infinity') as at, i.id::text as id, i.order_id::text as subject
from public.order_items i
join public.orders o on o.id = i.order_id
where i.reservation_id is not null and i.reservation_id <> '' and coalesce(i.reservation_status, 'reserved') = 'reserved'
  and coalesce(i.reserved_at, '-infinity') < $1
  and (coalesce(i.reserved_at, '-infinity'), i.id) > (coalesce($2::timestamptz, '-infinity'), order_worker.item_cursor($3))
  and coalesce(order_worker.finite(i.reserved_at), order_worker.finite(o.created_at)) < $1
  and (o.status in ('payment_failed', 'cancelled') or (o.status = 'pending' and upper(o.payment_method) <> 'COD'))
order by coalesce(i.reserved_at, '-infinity'), i.id
limit $4
