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

-- The word that a person has spoken last about an event, where it closes it: null: none did. Resolving an incident that the event
-- caused is such a word too; approving an amount resolves the incident about it and closes nothing.
create function order_worker.closed_by_person(event_id bigint, cause text) returns text
    language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select case
        when last.verb = 'reject' then 'rejected'
        when last.verb = 'drop' then 'dropped'
        when last.verb = 'skip' then 'skipped'
        else (select 'incident ' || n.kind || ' resolved' from order_worker.incident_journal n
              where n.cause = closed_by_person.cause and n.resolved_by is not null and n.kind <> 'same_id_other_body'
                and not (n.kind = 'amount_mismatch' and last.verb is not distinct from 'approve')
              order by n.id limit 1)
        end
    from (values (1)) one
    left join lateral (
        select d.verb from order_worker.decisions d where d.id = closed_by_person.event_id and d.verb <> 'edit'
        order by d.decided_at desc limit 1) last on true;
end;
