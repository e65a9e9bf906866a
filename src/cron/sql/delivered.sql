-- cron/delivered: orders that wait as pending and were paid on delivery.
select nullif(created_at, '-infinity') as at, id, id as subject
from public.orders
where status = 'pending' and delivered and upper(payment_method) = 'COD' and created_at < $1
  and (created_at, id) > (coalesce($2::timestamptz, '-infinity'), coalesce($3::text, ''))
order by created_at, id
limit $4
