-- operations/reject: events that waited change nothing, as a person has decided.
with gone as (
    delete from order_worker.pending where queue = 'inbox' and state = any($1) and id = any($2) returning id, day
), outcome as (
    insert into order_worker.inbox_outcomes (day, id, outcome, reason) select day, id, 'rejected', $5 from gone on conflict do nothing
), decided as (
    insert into order_worker.decisions (id, day, actor, verb, reason) select id, day, $3, $4, $5 from gone
)
select id from gone order by id
