-- operations/reject: events that waited for an operator change nothing.
with gone as (
    delete from order_worker.pending where queue = 'inbox' and state = $1 and id = any($2) returning id, day
), outcome as (
    insert into order_worker.inbox_outcomes (day, id, outcome, reason) select day, id, 'rejected', $3 from gone on conflict do nothing
)
select id from gone
