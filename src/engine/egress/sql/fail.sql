-- egress/fail: rows that were not settled, by compare-and-set: a row that somebody else has handled meanwhile stays as it is.
-- || '' makes the planner go by the primary key, not through the index of all ready rows.
update order_worker.pending p
set (state, due, attempts, last_error) = (
    select ($3::text[])[n], clock_timestamp() + ($4::float8[])[n] * interval '1 second', p.attempts + ($5::integer[])[n],
           ($6::text[])[n]
    from array_position($1::bigint[], p.id) n
)
where p.id = any($1) and p.attempts = ($2::integer[])[array_position($1, p.id)]
  and p.edition = ($7::bigint[])[array_position($1, p.id)] and p.state || '' = 'ready'
