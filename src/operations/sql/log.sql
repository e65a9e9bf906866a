-- operations/log: who did what, the newest first; only records before $3, to go on behind a page.
select id, at, actor, role, host, action, target, detail from order_worker.audit_log
where ($1::timestamptz is null or at >= $1) and id < coalesce($3::bigint, 9223372036854775807)
order by id desc
limit $2
