-- jobs/unpaid: pending orders placed before $1, as far as anybody knows when. No lock: under it is decided whether they are to be
-- cancelled.
select nullif(o.created_at, '-infinity') as at, o.id::text as id, o.id::text as subject
from public.orders o
where status = 'pending' and created_at < $1 and isfinite(created_at) and (created_at, id) > (coalesce($2::timestamptz, '-infinity'), order_worker.order_cursor($3))
  and ($5 or upper(payment_method) <> 'COD')
order by o.created_at, o.id
limit $4
