-- replay/again: unfinished, held and dead events are handled again, from their first attempt on.
with again as (
    update order_worker.pending set state = 'ready', attempts = 0, due = clock_timestamp()
    where id = any($1) and queue = 'inbox' and state in ('waiting', 'held', 'dead')
    returning id
)
insert into order_worker.replayed (run, id) select $2, id from again on conflict do nothing
