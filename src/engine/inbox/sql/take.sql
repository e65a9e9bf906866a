-- inbox/take: the next events, ours until the transaction ends. Whoever deletes them owns their effect. No further event once the
-- bodies before it have $2 bytes, which are told without reading them. An event waits while an earlier one of its subject is in other
-- hands: of two that are ready the one that was stored first is judged first.
with taken as materialized (
    select id, day, key, attempts, approved, created_at from order_worker.pending
    where queue = 'inbox' and lane = 0 and state = 'ready' and not order_worker.is_paused('inbox')
    order by id
    limit $1
    for update skip locked
), first as (
    select * from taken t where not exists (
        select from order_worker.pending earlier
        where earlier.queue = 'inbox' and earlier.key = t.key and t.key <> '' and earlier.id < t.id and earlier.state = 'ready'
          and earlier.id not in (select id from taken)
        offset 0
    )
), sized as (
    select t.id, t.day, t.attempts, t.approved, t.created_at, i.topic, i.event_id, i.subject, i.body, i.key, i.traceparent, i.received_at,
           sum(octet_length(i.body)) over (order by t.id) - octet_length(i.body) as bytes_before
    from first t
    cross join lateral (select * from order_worker.inbox i where i.day = t.day and i.id = t.id offset 0) i
)
select id, day, attempts, approved, extract(epoch from clock_timestamp() - created_at)::float8 as age,
       topic, event_id, subject, body, encode(key, 'hex') as cause, traceparent, received_at
from sized
where bytes_before < $2
order by id
