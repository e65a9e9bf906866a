-- replay/settle: what today's code has decided about settled events: facts, incidents, outcomes. In one transaction with the changes.
with fact as (
    insert into order_worker.payment_facts (order_id, payment_id, kind, cause, amount, currency)
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $14::numeric[], $15::text[])
    on conflict do nothing
), incident as (
    insert into order_worker.incident_journal (kind, subject, cause, detail)
    select * from unnest($5::text[], $6::text[], $7::text[], $8::text[])
    on conflict do nothing
)
select order_worker.rejudge($9::bigint[], $10::date[], $11::text[], $12::text[], $13)
