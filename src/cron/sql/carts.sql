-- cron/carts: carts that were left since $1, as far as anybody knows when, and not checked out.
select nullif(updated_at, '-infinity') as at, id, id as subject from public.carts
where not checked_out and updated_at < $1 and isfinite(updated_at) and (updated_at, id) > (coalesce($2::timestamptz, '-infinity'), coalesce($3::text, ''))
order by updated_at, id
limit $4
for update skip locked
