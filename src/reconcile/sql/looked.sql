-- reconcile/looked: how far a stream was looked at, and what is wrong with it. What is wrong moves no cursor and no watermark. Nobody
-- looks again for $8 seconds.
update order_worker.stream_cursors
set last_id = case when $6::text is null then $2 else last_id end, entries_added = case when $6 is null then $3 else entries_added end,
    run_id = case when $6 is null then coalesce($4, run_id) else run_id end,
    watermark = case when $6 is null then clock_timestamp() - $5::float8 * interval '1 second' else watermark end,
    read_at = clock_timestamp(), claimed_until = clock_timestamp() + $8::float8 * interval '1 second', alert = $6, saved = saved + $7
where stream = $1
