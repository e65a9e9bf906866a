-- cron/carts: deletes carts that were left since $1 and not checked out; their items go with them (on delete cascade).
with abandoned as materialized (
    select id, updated_at from public.carts
    where not checked_out and updated_at < $1 and (updated_at, id) > (coalesce($2::timestamptz, '-infinity'), coalesce($3::text, ''))
    order by updated_at, id
    limit $4
    for update skip locked
), gone as (
    delete from public.carts c using abandoned where c.id = abandoned.id
)
select nullif(updated_at, '-infinity') as at, id, id as subject from abandoned order by updated_at, id
