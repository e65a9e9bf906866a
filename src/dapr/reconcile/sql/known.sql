-- reconcile/known: what is known of a stream.
select last_id, read, seen_id, entries_added, run_id, read_at, case when alert_kind = 'lost' then alert end as lost
from order_worker.stream_cursors where stream = $1
