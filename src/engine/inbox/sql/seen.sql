-- inbox/seen: counts the deliveries of events whose key was there before, of those with the same body. A statement of its own:
-- accept's snapshot is older than the row that it ran into. Returns their keys; the others have another body.
update order_worker.inbox_keys k
set duplicates = k.duplicates + ($3::bigint[])[array_position($1::bytea[], k.key)]
where k.key = any($1) and k.fingerprint = ($2::bytea[])[array_position($1, k.key)]
returning k.key
