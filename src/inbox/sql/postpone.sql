-- inbox/postpone: events that are not settled: they wait for an order or its lock, are held for an operator, or are given up.
update order_worker.pending p
set state = r.state, due = clock_timestamp() + r.delay * interval '1 second', attempts = p.attempts + r.counted,
    last_error = coalesce(r.reason, p.last_error)
from unnest($1::bigint[], $2::integer[], $3::text[], $4::float8[], $5::integer[], $6::text[])
    as r (id, attempts, state, delay, counted, reason)
where p.queue = 'inbox' and p.id = r.id and p.attempts = r.attempts and p.state = 'ready'
