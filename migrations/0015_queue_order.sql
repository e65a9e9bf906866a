-- Order by construction, and blame only with a witness (src/queue).

-- An earlier row of a key is found whatever its state: a row that was made ready again, or that committed late, may stand below the
-- floor from which its lane is read, and nothing later of its key may be sent before it.
create index pending_key on order_worker.pending (queue, key, id);

-- Which edition of a row somebody has in hand: a row that is sent again, or whose body was edited, is another one, and who settles the
-- one before leaves it alone.
alter table order_worker.pending add column edition bigint not null default 0;

-- obsolete: a call that its item did not want any more when its turn came. It was not made.
alter table order_worker.outbox_outcomes drop constraint outbox_outcomes_outcome_check;
alter table order_worker.outbox_outcomes add constraint outbox_outcomes_outcome_check
    check (outcome in ('sent', 'refused', 'skipped', 'obsolete'));

create or replace view order_worker.outbox_status as
select b.event_id::text as event_id, b.channel, b.topic, b.order_id,
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
       p.state as waits, case when p.state = 'waiting' then p.due end as due
from order_worker.outbox b
left join order_worker.outbox_outcomes o on o.day = b.day and o.id = b.id
left join order_worker.pending p on p.queue = b.channel and p.id = b.id;

-- What a call that a person has given up leaves behind: an item that waits for no answer. Of a reservation that was not confirmed
-- nothing was asked; one that was not released is nobody's to release again.
create function order_worker.give_up_call(day date, id bigint) returns boolean
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    update public.order_items i
    set reservation_status = case b.topic when 'ConfirmReservation' then 'reserved' else 'released' end
    from order_worker.outbox b
    where b.day = give_up_call.day and b.id = give_up_call.id
      and i.order_id = b.order_id and i.reservation_id = b.body ->> 'reservation_id'
      and i.reservation_status = case b.topic when 'ConfirmReservation' then 'confirming' else 'releasing' end;
    return true;
end $$;

-- Rows of a run that could not be done while others could: the run went on behind them.
alter table order_worker.cron_runs add column passed_over bigint not null default 0 check (passed_over >= 0);
-- `error` says of a run that failed why it did; of one that is to be done, why its last batch failed; of one that succeeded, why it
-- passed over the last row that it did.
do $$
declare
    rule text;
begin
    select conname into strict rule from pg_constraint
    where conrelid = 'order_worker.cron_runs'::regclass and pg_get_constraintdef(oid) like '%(outcome = ''failed''::text) = (error IS NOT NULL)%';
    execute format('alter table order_worker.cron_runs drop constraint %I', rule);
end $$;
alter table order_worker.cron_runs add constraint cron_runs_failed_says_why check (outcome is distinct from 'failed' or error is not null);

-- A time of the order service's as a moment that every program can count with; null: nobody knows it. Some drivers write a missing time as
-- '-infinity'.
create function order_worker.finite(moment timestamptz) returns timestamptz
    language sql immutable parallel safe
    return case when moment between timestamptz '0001-01-01 00:00:00Z' and timestamptz '9999-12-31 23:59:59Z' then moment end;
