-- queue/fetch: the next rows of my lanes, written down as in hand in the same transaction. A lane is read from its floor; rows
-- whose key is in hand or set aside are passed over; rows behind a waiting or dead one of their key are blocked, so that the next read
-- steps over them. No row of another's lane, and none at all once the lease has run out, or while the queue is paused.
-- A key's rows go out by rising ids, whatever happens to them: a row is passed over while an earlier one of its key is
-- ready below the floor, having been made ready again, or committed late. `again` then asks for a read from the very start; `passed_over`
-- tells that there are rows whose key is in hand, `more` that there may be others. There is always a row with all three, the only one (its id is null) when nothing is to be sent.
with me as materialized (
    select array(select lane from order_worker.lanes where queue = $1 and owner = $2) as lanes
    from order_worker.workers where queue = $1 and worker = $2 and lease_until > clock_timestamp() and not order_worker.is_paused($1)
), picked as materialized (
    select p.*
    from me
    cross join unnest($3::smallint[], $4::bigint[]) as mine (lane, floor)
    cross join lateral (
        select r.id, r.day, r.lane, r.key, r.attempts, r.exposed, r.edition, r.created_at,
               exists (
                   select from order_worker.pending head
                   where head.queue = r.queue and head.key = r.key and head.id < r.id and head.state <> 'ready'
                     and (head.state in ('waiting', 'blocked') or (head.state = 'dead' and $8))
               ) as behind,
               exists (
                   select from order_worker.pending head
                   where head.queue = r.queue and head.key = r.key and head.id < mine.floor and head.state = 'ready'
               ) as overtakes
        from order_worker.pending r
        where r.queue = $1 and r.lane = mine.lane and r.state = 'ready' and r.id >= mine.floor
          -- Hashed once; `<> all` would compare each row with each key in hand.
          and r.key not in (select unnest($5::text[]))
        order by r.id
        limit $9
    ) p
    where mine.lane = any(me.lanes)
), blocked as (
    -- By id alone, whatever the planner believes about the rest.
    update order_worker.pending b set state = case b.state when 'ready' then 'blocked' else b.state end
    where b.queue = $1 and b.id = any(array(select id from picked where behind))
), chosen as materialized (
    select * from picked where not behind and not overtakes order by id limit $6
), read as materialized (
    select c.id, c.day, c.lane, c.key, c.attempts, c.exposed, c.edition, c.created_at, b.received_at, b.created_at as written_at,
           b.event_id::text as event_id, b.topic, b.subject, b.body::text as body, b.traceparent
    from chosen c
    cross join lateral (select * from order_worker.outbox o where o.day = c.day and o.id = c.id offset 0) b
), taken as materialized (
    -- No further row once the bodies before it have $10 bytes.
    select r.*, sum(octet_length(body)) over (order by id) - octet_length(body) < $10 as fits from read r
), noted as (
    update order_worker.workers set in_hand = $7::bigint[] || (select array_agg(id) from taken where fits)
    where queue = $1 and worker = $2 and exists (select from taken)
)
select t.id, t.day, t.lane, t.key, t.attempts, t.exposed, t.edition,
       extract(epoch from clock_timestamp() - t.created_at)::float8 as age,
       extract(epoch from clock_timestamp() - coalesce(t.received_at, t.written_at))::float8 as since_cause,
       t.event_id, t.topic, t.subject, t.body, t.traceparent, told.again, told.passed_over, told.more
from (
    select exists (select from picked where overtakes and not behind) as again,
           -- A probe for each key in hand; of many it is taken for granted.
           cardinality($5::text[]) > 64 or exists (
               select from unnest($5::text[]) in_hand (key)
               cross join lateral (
                   select from order_worker.pending later
                   where later.queue = $1 and later.key = in_hand.key and later.state = 'ready' and later.id <> all($7::bigint[])
                   limit 1) later
           ) as passed_over,
           (select count(*) from chosen) >= $6 or exists (select from taken where not fits)
               or exists (select from picked group by lane having count(*) >= $9) as more
) told
left join taken t on t.fits
order by t.id
