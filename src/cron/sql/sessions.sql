-- cron/sessions: deletes sessions that nobody used since $1. One that somebody holds is in use.
with expired as materialized (
    select id, updated_at from public.sessions
    where updated_at < $1 and (updated_at, id) > (coalesce($2::timestamptz, '-infinity'), coalesce($3::text, ''))
    order by updated_at, id
    limit $4
    for update skip locked
), gone as (
    delete from public.sessions s using expired where s.id = expired.id
)
select nullif(updated_at, '-infinity') as at, id, id as subject from expired order by updated_at, id
