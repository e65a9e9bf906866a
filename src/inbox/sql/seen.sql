-- inbox/seen: the fingerprints of keys that were there before. A statement of its own: accept's snapshot is older than the row
-- that it ran into. Counts the deliveries of those with the same body.
with seen as (
    select k.key, k.fingerprint, t.fingerprint as offered, t.deliveries
    from unnest($1::bytea[], $2::bytea[], $3::bigint[]) as t (key, fingerprint, deliveries)
    join order_worker.inbox_keys k using (key)
    order by k.key
    for update of k
), counted as (
    update order_worker.inbox_keys k set duplicates = k.duplicates + seen.deliveries
    from seen where k.key = seen.key and seen.fingerprint = seen.offered
)
select key, fingerprint = offered as same from seen
