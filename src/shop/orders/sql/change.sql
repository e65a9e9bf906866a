-- orders/change: what was decided, in one statement: what payments and refunds have told, incidents, and the changes of statuses with their history
-- and announcements, in one function for everybody.
with fact as (
    insert into order_worker.payment_facts (order_id, payment_id, kind, cause, amount, currency)
    select * from unnest($8::text[], $9::text[], $10::text[], $11::text[], $12::numeric[], $13::text[])
    on conflict do nothing
), refund as (
    insert into order_worker.refund_facts (order_id, refund_id, payment_id, cause, amount, currency, reason)
    select * from unnest($18::text[], $19::text[], $20::text[], $21::text[], $22::numeric[], $23::text[], $24::text[])
    on conflict do nothing
), incident as (
    insert into order_worker.incident_journal (kind, subject, cause, detail)
    select * from unnest($14::text[], $15::text[], $16::text[], $17::text[])
    on conflict do nothing
)
select order_worker.change_orders($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
from (values (1)) one where cardinality($1::text[]) > 0
