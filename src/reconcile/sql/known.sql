-- reconcile/known: what is known of a stream.
select last_id, entries_added, run_id, read_at from order_worker.stream_cursors where stream = $1
