-- queue/fail: rows that were not settled, by compare-and-set: a row that somebody else has handled meanwhile stays as it is.
update order_worker.pending p
set state = r.state, due = clock_timestamp() + r.delay * interval '1 second', attempts = p.attempts + r.counted, last_error = r.error
from unnest($2::bigint[], $3::integer[], $4::text[], $5::float8[], $6::integer[], $7::text[])
    as r (id, attempts, state, delay, counted, error)
where p.queue = $1 and p.id = r.id and p.attempts = r.attempts and p.state = 'ready'
