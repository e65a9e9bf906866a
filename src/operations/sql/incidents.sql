-- operations/incidents: the newest first; open ones only unless $1.
select id, kind, subject as order_id, detail, cause, opened_at, resolved_at, resolved_by
from order_worker.incident_journal
where ($1 or resolved_at is null) and ($2::text is null or kind = $2) and ($3::text is null or subject = order_worker.subject_text($3))
  and ($4::bigint is null or id = $4)
order by id desc
limit $5
