-- reconcile/claim: a stream is looked at by one replica at a time; one that died with it is waited for. Returns what is known of it.
insert into order_worker.stream_cursors as c (stream, claimed_until) values ($1, clock_timestamp() + $2::float8 * interval '1 second')
on conflict (stream) do update set claimed_until = excluded.claimed_until where c.claimed_until < clock_timestamp()
returning last_id, entries_added, run_id, read_at
