-- operations/resolve_incidents: somebody has looked at them.
update order_worker.incident_journal set resolved_at = clock_timestamp(), resolved_by = $2
where id = any($1) and resolved_at is null
returning id
