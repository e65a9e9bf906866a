-- reconcile/looked: how far a stream was looked at, how it stood, and what is wrong with it. What is wrong moves no watermark; where
-- nothing could be looked at, nothing moves. Nobody looks again for $12 seconds. With $13 only where nobody has written since $14.
-- A watermark that was true stays true, and one in the future was written under a clock that was ahead.
update order_worker.stream_cursors c
set last_id = case when moves then $2 else last_id end, read = case when moves then $3 else read end,
    seen_id = case when moves then $4 else seen_id end, entries_added = case when moves then $5 else entries_added end,
    run_id = case when moves then coalesce($6, run_id) else run_id end,
    watermark = case when $9::text is not null then watermark
                     when watermark <= clock_timestamp() then greatest(watermark, vouched) else vouched end,
    read_at = clock_timestamp(), claimed_until = clock_timestamp() + $12::float8 * interval '1 second',
    alert = $9, alert_kind = $10, saved = saved + $11
from (select $9::text is null or $10::text = 'lost' as moves, $7::timestamptz - $8::float8 * interval '1 second' as vouched) look
where stream = $1 and (not $13 or read_at is not distinct from $14)
