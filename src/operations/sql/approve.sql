-- operations/approve: events that waited for an operator are handled; a held one whatever its amount.
with approved as (
    update order_worker.pending set state = 'ready', approved = approved or state = 'held', due = clock_timestamp()
    where queue = 'inbox' and state = $1 and id = any($2)
    returning id, day
), decided as (
    insert into order_worker.decisions (id, day, actor, verb, reason) select id, day, $3, $4, $5 from approved
)
select id from approved order by id
