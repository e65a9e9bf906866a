-- operations/close_incidents: the open incidents that these events have caused.
update order_worker.incident_journal n
set resolved_at = clock_timestamp(), resolved_by = $3
from order_worker.inbox i
where i.id = any($1) and n.cause = encode(i.key, 'hex') and n.kind = $2 and n.resolved_at is null
