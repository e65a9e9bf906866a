-- inbox/take: the next events, ours until the transaction ends. Whoever deletes them owns their effect. No further event once the
-- bodies before it have $2 bytes, which are told without reading them.
with taken as materialized (
    select id, day, attempts, approved, created_at from order_worker.pending
    where queue = 'inbox' and lane = 0 and state = 'ready' and not order_worker.is_paused('inbox')
    order by id
    limit $1
    for update skip locked
), sized as (
    select t.id, t.day, t.attempts, t.approved, t.created_at, i.topic, i.event_id, i.subject, i.body, i.key, i.traceparent, i.received_at,
           sum(octet_length(i.body)) over (order by t.id) - octet_length(i.body) as bytes_before
    from taken t
    cross join lateral (select * from order_worker.inbox i where i.day = t.day and i.id = t.id offset 0) i
)
select id, day, attempts, approved, extract(epoch from clock_timestamp() - created_at)::float8 as age,
       topic, event_id, subject, body, encode(key, 'hex') as cause, traceparent, received_at
from sized
where bytes_before < $2
order by id
