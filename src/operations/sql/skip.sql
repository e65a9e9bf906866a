-- operations/skip: dead rows are given up for good, with the reason in their outcome. What is parked behind them goes on
-- (queue/heal, at the next beat of a worker), and an item waits for no answer of a call that is not made.
with gone as (
    delete from order_worker.pending where id = any($1) and state = 'dead' returning queue, id, day, attempts
), events as (
    insert into order_worker.inbox_outcomes (day, id, outcome, reason)
    select day, id, 'rejected', 'skipped: ' || $2::text from gone where queue = 'inbox' on conflict do nothing
), messages as (
    insert into order_worker.outbox_outcomes (day, id, outcome, attempts, reason)
    select day, id, 'skipped', attempts, $2 from gone where queue in ('dapr', 'warehouse') on conflict do nothing
)
select queue from gone where queue <> 'warehouse' or order_worker.give_up_call(day, id)
