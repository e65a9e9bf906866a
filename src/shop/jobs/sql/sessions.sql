-- jobs/sessions: sessions that nobody used since $1. One that somebody holds is in use.
select nullif(s.updated_at, '-infinity') as at, s.id::text as id, s.id::text as subject from public.sessions s
where updated_at < $1 and (updated_at, id) > (coalesce($2::timestamptz, '-infinity'), order_worker.session_cursor($3))
order by s.updated_at, s.id
limit $4
for update skip locked
