-- queue/reap: takes the lanes of dead workers away, and notes what they had in hand. A lease far in the future was written under
-- another clock (a restored backup, a clock set back): it is as good as expired. A row that was in hand alone is suspected of
-- the death: it waits, longer each time.
with gone as (
    delete from order_worker.workers
    where queue = $1 and (lease_until < clock_timestamp() or lease_until > clock_timestamp() + 10 * $2::float8 * interval '1 second')
    returning worker, in_hand
), freed as (
    update order_worker.lanes l set owner = null
    where l.queue = $1 and l.owner is not null
      and (l.owner in (select worker from gone)
           or not exists (select from order_worker.workers w where w.queue = l.queue and w.worker = l.owner))
), exposed as (
    update order_worker.pending p
    set exposed = p.exposed + 1,
        state = case when cardinality(gone.in_hand) = 1 then 'waiting' else p.state end,
        due = case when cardinality(gone.in_hand) = 1
                   then clock_timestamp() + least(300, power(2, least(p.exposed, 9))) * interval '1 second' else p.due end
    from gone
    where p.queue = $1 and p.id = any(gone.in_hand) and p.state || '' = 'ready' -- by the primary key
    returning p.id, gone.worker
)
insert into order_worker.exposures (queue, id, worker) select $1, id, worker from exposed
