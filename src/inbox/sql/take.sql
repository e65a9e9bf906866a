-- inbox/take: the next events, ours until the transaction ends. Whoever deletes them owns their effect.
with taken as materialized (
    select id, day, attempts, created_at from order_worker.pending
    where queue = 'inbox' and lane = 0 and state = 'ready'
    order by id
    limit $1
    for update skip locked
)
select t.id, t.day, t.attempts, extract(epoch from clock_timestamp() - t.created_at)::float8 as age,
       i.topic, i.body, encode(i.key, 'hex') as cause, i.traceparent, i.received_at
from taken t
cross join lateral (select * from order_worker.inbox i where i.day = t.day and i.id = t.id offset 0) i
order by t.id
