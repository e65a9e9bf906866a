-- inbox/settle: what was decided: facts, outcomes and the end of the pending rows, and incidents. In one transaction with the
-- changes, and with the lock on the pending rows that inbox/take has: all of them are still there.
with settled as (
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::date[], $7::text[], $8::text[],
                         $13::numeric[], $14::text[])
        as t (order_id, payment_id, kind, cause, id, day, outcome, reason, amount, currency)
), fact as (
    insert into order_worker.payment_facts (order_id, payment_id, kind, cause, amount, currency)
    select order_id, payment_id, kind, cause, amount, currency from settled
    on conflict do nothing
), incident as (
    insert into order_worker.incident_journal (kind, subject, cause, detail)
    select * from unnest($9::text[], $10::text[], $11::text[], $12::text[])
    on conflict do nothing
), outcome as (
    insert into order_worker.inbox_outcomes (day, id, outcome, reason)
    select day, id, outcome, reason from settled
)
delete from order_worker.pending where id = any($5)
