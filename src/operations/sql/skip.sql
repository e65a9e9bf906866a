-- operations/skip: rows are given up for good, with the reason in their outcome: dead ones, and with $4 messages too that wait, in
-- whatever state, unless a live worker is just sending them. What was blocked behind them goes on, and an item waits for no answer of a
-- call that is not made.
with gone as (
    delete from order_worker.pending p
    where p.id = any($1)
      and (p.state = 'dead'
           or ($4 and p.queue in ('dapr', 'warehouse') and p.state in ('waiting', 'blocked', 'ready')
               and not exists (
                   select from order_worker.workers w
                   where w.queue = p.queue and w.lease_until > clock_timestamp() and p.id = any(w.in_hand) and p.state = 'ready')))
    returning queue, id, day, key, attempts
), events as (
    insert into order_worker.inbox_outcomes (day, id, outcome, reason)
    select day, id, 'rejected', 'skipped: ' || $2::text from gone where queue = 'inbox' on conflict do nothing
), messages as (
    insert into order_worker.outbox_outcomes (day, id, outcome, attempts, reason)
    select day, id, 'skipped', attempts, $2 from gone where queue in ('dapr', 'warehouse') on conflict do nothing
), decided as (
    insert into order_worker.decisions (id, day, actor, verb, reason) select id, day, $3, 'skip', $2 from gone
), freed as (
    update order_worker.pending set state = 'ready'
    where id = any(array(
        select b.id
        from gone g
        cross join lateral (
            select id from order_worker.pending where queue = g.queue and key = g.key and state = 'blocked' offset 0) b
        where b.id not in (select id from gone)))
)
select queue from gone where queue <> 'warehouse' or order_worker.give_up_call(day, id)
