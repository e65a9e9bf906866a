-- inbox/settle: what was decided: facts, outcomes and the end of the pending rows, and incidents. In one transaction with the
-- changes.
with settled as (
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[])
        as t (order_id, payment_id, kind, cause, id, outcome, reason)
), fact as (
    insert into order_worker.payment_facts (order_id, payment_id, kind, cause)
    select order_id, payment_id, kind, cause from settled
    on conflict do nothing
), incident as (
    insert into order_worker.incident_journal (kind, order_id, cause, detail)
    select * from unnest($8::text[], $9::text[], $10::text[], $11::text[])
    on conflict do nothing
), done as (
    delete from order_worker.pending p using settled s
    where p.queue = 'inbox' and p.id = s.id
    returning p.day, p.id, s.outcome, s.reason
)
insert into order_worker.inbox_outcomes (day, id, outcome, reason)
select day, id, outcome, reason from done
