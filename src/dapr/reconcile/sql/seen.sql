-- reconcile/seen: of these events ($1 key, $2 fingerprint, $3 the key under which another body is quarantined, $4 whether it has data),
-- the places of those that the inbox has. One that waits for its data is not there yet, for whoever has it; one that has another body
-- than the first under its key is there once it is quarantined.
select o.n
from unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::boolean[]) with ordinality as o (key, fingerprint, quarantined, has_data, n)
where exists (
        select from order_worker.inbox_keys k
        where k.key = o.key
          and (not o.has_data or k.fingerprint = o.fingerprint
               or k.fingerprint = sha256('\x0000000000000000'::bytea) and not order_worker.waits_for_data(k))
        offset 0)
   or exists (select from order_worker.inbox_keys k where k.key = o.quarantined offset 0)
