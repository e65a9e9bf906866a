-- reconcile/claim: a stream is looked at by one replica at a time, for $2 seconds; one that died with it is waited for. A claim of more
-- than $3 seconds was written under a clock that was ahead. Returns what is known of it.
insert into order_worker.stream_cursors as c (stream, claimed_until) values ($1, clock_timestamp() + $2::float8 * interval '1 second')
on conflict (stream) do update set claimed_until = excluded.claimed_until
    where c.claimed_until < clock_timestamp() or c.claimed_until > clock_timestamp() + $3::float8 * interval '1 second'
returning last_id, read, seen_id, entries_added, run_id, read_at, case when alert_kind = 'lost' then alert end as lost
