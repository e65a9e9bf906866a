-- The operator's word: commands ask, workers perform by their own settings, and what a person decided stays decided.

-- By which settings workers judge, as the one that started last has said. A worker performs by its own configuration: these rows are
-- for whoever has to judge without being one, and tell which kinds of workers this database has ever had.
create table order_worker.worker_terms (
    -- events  how payment events are judged: a worker in mode event or all
    -- jobs    what the jobs give up after how long: a worker in mode cron or all
    kind          text primary key check (kind in ('events', 'jobs')),
    -- Versions differ in what they know: a reader passes over what it does not.
    terms         jsonb not null check (jsonb_typeof(terms) = 'object'),
    worker        text not null,
    version       text not null,
    registered_at timestamptz not null default clock_timestamp()
);

-- From which queues the worker takes rows besides the one of this lease: whether anybody performs what commands ask for. Null: a
-- version that does not say so.
alter table order_worker.workers add column drains text[];

-- Where the record was written: the machine or pod, beside the person and the database role. Records from before have none, and
-- their hashes stay what they were.
alter table order_worker.audit_log add column host text;

create or replace function order_worker.audit_hash(entry order_worker.audit_log) returns bytea
    language sql stable
    return sha256(
        (entry).previous || order_worker.sized((entry).id::text)
        || order_worker.sized(to_char((entry).at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
        || order_worker.sized((entry).actor) || order_worker.sized((entry).role) || order_worker.sized((entry).action)
        || order_worker.sized((entry).target) || order_worker.sized((entry).detail::text)
        || coalesce(order_worker.sized((entry).host), ''::bytea));

create function order_worker.record(actor text, action text, target text, detail jsonb, host text) returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    entry order_worker.audit_log;
begin
    perform pg_advisory_xact_lock(hashtext('order_worker.audit_log'));
    select l.id, l.hash into entry.id, entry.previous from order_worker.audit_log l order by l.id desc limit 1;
    entry.id := coalesce(entry.id, 0) + 1;
    entry.previous := coalesce(entry.previous, decode(repeat('00', 32), 'hex'));
    entry.at := clock_timestamp();
    entry.actor := actor;
    entry.role := session_user;
    entry.action := action;
    entry.target := target;
    entry.detail := coalesce(detail, '{}');
    entry.host := host;
    entry.hash := order_worker.audit_hash(entry);
    insert into order_worker.audit_log select entry.*;
    return entry.id;
end $$;

-- For workers of the version before.
create or replace function order_worker.record(actor text, action text, target text, detail jsonb) returns bigint
    language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select order_worker.record(actor, action, target, detail, null);
end;

-- What a person has decided about an event or a message, in one transaction with its effect. It is final: a replay leaves what was
-- rejected, dropped or skipped alone, unless it is told otherwise by name.
create table order_worker.decisions (
    -- The row's number and day in its journal.
    id         bigint not null,
    day        date not null,
    actor      text not null check (actor <> ''),
    -- approve  a held event changes its order, whatever its amount
    -- accept   a quarantined event is one of its own
    -- reject   an event that waited changes nothing
    -- drop     a quarantined event changes nothing
    -- skip     an event changes nothing, a message is not sent
    -- edit     the row has another body
    verb       text not null check (verb in ('approve', 'accept', 'reject', 'drop', 'skip', 'edit')),
    reason     text not null,
    decided_at timestamptz not null default clock_timestamp()
);
create index decisions_id on order_worker.decisions (id);

-- Whose incidents an event has caused.
create index incident_journal_cause on order_worker.incident_journal (cause);

-- Gives a row that was given up, or waits for its next attempt, another body and makes it ready: the journals are not the runtime
-- role's to change, and here the old body is kept. The event keeps its key and fingerprint, the announcement its id: what comes again
-- is still recognised. What a body has to be is checked before (src/operations/edit.rs); here stands what must hold whatever the caller.
create or replace function order_worker.edit_dead(row_id bigint, new_body bytea, actor text, reason text) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    letter order_worker.pending;
    old_body bytea;
    json jsonb;
    belongs_to text;
begin
    select * into letter from order_worker.pending p where p.id = row_id for update;
    if not found or letter.queue = 'cron' or letter.state not in ('dead', 'waiting') then
        raise exception 'row % is neither dead nor waiting', row_id using errcode = 'check_violation',
            hint = 'order-worker dead list';
    end if;
    begin
        json := convert_from(new_body, 'UTF8')::jsonb;
    exception when others then
        raise exception 'the new body is no JSON: %', sqlerrm using errcode = 'invalid_parameter_value';
    end;
    if jsonb_typeof(json) <> 'object' then
        raise exception 'the new body is a JSON %, an object is expected', jsonb_typeof(json) using errcode = 'invalid_parameter_value';
    end if;
    if letter.queue = 'inbox' then
        select i.body into strict old_body from order_worker.inbox i where i.day = letter.day and i.id = letter.id;
        update order_worker.inbox i
        set body = new_body, order_id = json ->> 'order_id', payment_id = json ->> 'payment_id'
        where i.day = letter.day and i.id = letter.id;
        update order_worker.pending p set key = coalesce(json ->> 'order_id', '') where p.id = letter.id;
    else
        select convert_to(o.body::text, 'UTF8'), o.order_id into strict old_body, belongs_to
        from order_worker.outbox o where o.day = letter.day and o.id = letter.id;
        if letter.queue = 'dapr' and json ->> 'order_id' is distinct from belongs_to then
            raise exception 'the new body is about order %, the announcement about %', coalesce(json ->> 'order_id', '(none)'), belongs_to
                using errcode = 'check_violation';
        end if;
        update order_worker.outbox o set body = json where o.day = letter.day and o.id = letter.id;
        update order_worker.outbox_keys k set body_hash = sha256(convert_to(json::text, 'UTF8')) where k.id = letter.id
            and k.event_id = (select o.event_id from order_worker.outbox o where o.day = letter.day and o.id = letter.id);
    end if;
    insert into order_worker.edits (queue, id, edited_by, reason, old_body) values (letter.queue, letter.id, actor, reason, old_body);
    insert into order_worker.decisions (id, day, actor, verb, reason) values (letter.id, letter.day, actor, 'edit', reason);
    -- Another edition: who has the one before in hand settles it no more.
    update order_worker.pending p
    set state = 'ready', attempts = 0, due = clock_timestamp(), edition = nextval('order_worker.journal_id')
    where p.id = letter.id;
    return letter.queue;
end $$;

-- What a message that is not sent waits for, and until when: behind the columns that were there.
create or replace view order_worker.outbox_status as
select b.event_id::text as event_id, b.channel, b.topic, b.order_id,
       case
           when o.outcome = 'skipped' then 'skipped'
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
       case when o.outcome <> 'skipped' then o.settled_at end as sent_at,
       coalesce(o.reason, p.last_error) as reason, b.cause, b.day, b.id,
       p.state as waits, case when p.state = 'waiting' then p.due end as due
from order_worker.outbox b
left join order_worker.outbox_outcomes o on o.day = b.day and o.id = b.id
left join order_worker.pending p on p.queue = b.channel and p.id = b.id;
