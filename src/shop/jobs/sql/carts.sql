-- jobs/carts: carts that were left since $1, as far as anybody knows when, and not checked out.
select nullif(c.updated_at, '-infinity') as at, c.id::text as id, c.id::text as subject from public.carts c
where not checked_out and updated_at < $1 and isfinite(updated_at) and (updated_at, id) > (coalesce($2::timestamptz, '-infinity'), order_worker.cart_cursor($3))
order by c.updated_at, c.id
limit $4
for update skip locked
