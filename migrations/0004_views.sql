-- For readers outside. More columns may come; these stay.

create view order_worker.inbox_status as
select i.topic, i.source, i.event_id, i.subject as order_id,
       coalesce(o.outcome, case when p.state in ('held', 'dead', 'quarantined') then p.state else 'pending' end) as outcome,
       coalesce(o.reason, p.last_error) as reason,
       i.received_at, o.settled_at,
       k.duplicates, i.reference as payment_id, i.day, i.id
from order_worker.inbox i
left join order_worker.inbox_outcomes o on o.day = i.day and o.id = i.id
left join order_worker.pending p on p.queue = 'inbox' and p.id = i.id
left join order_worker.inbox_keys k on k.key = i.key;

create view order_worker.outbox_status as
select b.event_id::text as event_id, b.channel, b.topic, b.subject as order_id,
       case
           -- Nobody wants it any more: skipped by a person, or by the item itself.
           when o.outcome in ('skipped', 'obsolete') then 'skipped'
           -- A refusal is the warehouse's answer: the call was made.
           when o.outcome is not null then 'sent'
           when p.state = 'dead' then 'dead'
           when p.state = 'blocked' and exists (
               select from order_worker.pending head
               where head.queue = p.queue and head.key = p.key and head.id < p.id and head.state = 'dead') then 'parked'
           else 'pending'
       end as state,
       coalesce(o.attempts, p.attempts) as attempts,
       b.created_at,
       case when o.outcome not in ('skipped', 'obsolete') then o.settled_at end as sent_at,
       coalesce(o.reason, p.last_error) as reason, b.cause, b.day, b.id,
       -- What a message that is not sent waits for, and until when.
       p.state as waits, case when p.state = 'waiting' then p.due end as due
from order_worker.outbox b
left join order_worker.outbox_outcomes o on o.day = b.day and o.id = b.id
left join order_worker.pending p on p.queue = b.channel and p.id = b.id;

create view order_worker.incidents as
select kind, subject as order_id, detail, opened_at, resolved_at, id, cause from order_worker.incident_journal;

-- The oldest worker that may run on this schema: the highest migration it must know. Migrations expand, then contract; the one
-- that contracts raises this number.
create table order_worker.schema_support (oldest_worker bigint not null);
insert into order_worker.schema_support values (4);
