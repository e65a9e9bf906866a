-- inbox/settle: how events ended, and the end of their pending rows, which inbox/take has locked: all of them are still there.
with outcome as (
    insert into order_worker.inbox_outcomes (day, id, outcome, reason)
    select * from unnest($2::date[], $1::bigint[], $3::text[], $4::text[])
)
delete from order_worker.pending where id = any($1)
