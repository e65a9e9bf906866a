-- jobs/delivered: orders that wait as pending and were paid on delivery.
select nullif(o.created_at, '-infinity') as at, o.id::text as id, o.id::text as subject
from public.orders o
where status = 'pending' and delivered and upper(payment_method) = 'COD' and created_at < $1
  and (created_at, id) > (coalesce($2::timestamptz, '-infinity'), order_worker.order_cursor($3))
order by o.created_at, o.id
limit $4
