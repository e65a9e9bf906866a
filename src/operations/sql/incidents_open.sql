-- operations/incidents_open: how many of each kind nobody has resolved, by the index of open ones.
select kind, count(*) from order_worker.incident_journal where resolved_at is null group by kind order by kind
