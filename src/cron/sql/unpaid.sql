-- cron/unpaid: pending orders placed before $1, as far as anybody knows when. No lock: under it is decided whether they are to be
-- cancelled.
select nullif(created_at, '-infinity') as at, id, id as subject
from public.orders
where status = 'pending' and created_at < $1 and isfinite(created_at) and (created_at, id) > (coalesce($2::timestamptz, '-infinity'), coalesce($3::text, ''))
  and ($5 or upper(payment_method) <> 'COD')
order by created_at, id
limit $4
