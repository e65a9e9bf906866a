-- cron/sessions: sessions that nobody used since $1. One that somebody holds is in use.
select nullif(updated_at, '-infinity') as at, id, id as subject from public.sessions
where updated_at < $1 and (updated_at, id) > (coalesce($2::timestamptz, '-infinity'), coalesce($3::text, ''))
order by updated_at, id
limit $4
for update skip locked
