-- operations/log: who did what, the newest first.
select id, at, actor, role, action, target, detail from order_worker.audit_log
where ($1::timestamptz is null or at >= $1)
order by id desc
limit $2
