-- The inbox and the outbox: immutable journals in daily partitions (UTC), each with
--   *_keys      what makes it idempotent, kept longer than the bodies and never partitioned: a key is unique for its whole life;
--   *_outcomes  how a row was settled, written once, dropped together with the day of its journal.
-- The runtime role may insert into a journal and read it, nothing else (grants.sql).

-- One for all journals, so that an id alone names a row of `pending`.
create sequence order_worker.journal_id;

create function order_worker.today() returns date
    language sql stable parallel safe
    return (clock_timestamp() at time zone 'utc')::date;

-- Inbox -----------------------------------------------------------------------------------------------------------------

create table order_worker.inbox_keys (
    -- sha256 over (topic, source, CloudEvent id), each length-prefixed; of a quarantined event also over its fingerprint.
    key         bytea primary key check (octet_length(key) = 32),
    -- sha256 of the canonical JSON (RFC 8785) of `data`, or of the raw bytes where they are no JSON.
    fingerprint bytea not null check (octet_length(fingerprint) = 32),
    id          bigint not null default nextval('order_worker.journal_id'),
    day         date not null default order_worker.today(),
    -- Deliveries after the first.
    duplicates  bigint not null default 0
);
create index inbox_keys_day on order_worker.inbox_keys using brin (day);

create table order_worker.inbox (
    day         date not null,
    id          bigint not null,
    key         bytea not null,
    topic       text not null,
    source      text not null,
    event_id    text not null,
    event_type  text not null,
    -- Read from the body; null where it could not be.
    order_id    text,
    payment_id  text,
    -- The rest of the envelope, for people.
    headers     jsonb not null,
    traceparent text,
    -- `data` as received.
    body        bytea not null,
    fingerprint bytea not null,
    received_at timestamptz not null default clock_timestamp(),
    primary key (day, id)
) partition by range (day);
create index inbox_order_id on order_worker.inbox (order_id);
create table order_worker.inbox_default partition of order_worker.inbox default;

create table order_worker.inbox_outcomes (
    day        date not null,
    id         bigint not null,
    outcome    text not null check (outcome in ('applied', 'superseded', 'rejected')),
    reason     text,
    settled_at timestamptz not null default clock_timestamp(),
    primary key (day, id)
) partition by range (day);
create table order_worker.inbox_outcomes_default partition of order_worker.inbox_outcomes default;

-- Outbox ----------------------------------------------------------------------------------------------------------------

create table order_worker.outbox_keys (
    -- The CloudEvent id (or the warehouse's idempotency key): order_worker.event_id().
    event_id  uuid primary key,
    body_hash bytea not null check (octet_length(body_hash) = 32),
    id        bigint not null,
    day       date not null
);
create index outbox_keys_day on order_worker.outbox_keys using brin (day);

create table order_worker.outbox (
    day         date not null,
    id          bigint not null,
    event_id    uuid not null,
    channel     text not null check (channel in ('dapr', 'warehouse')),
    -- Dapr: the topic. Warehouse: the method.
    topic       text not null check (topic <> '' and length(topic) <= 255),
    order_id    text not null,
    body        jsonb not null check (octet_length(body::text) <= 1048576),
    -- What made it: an inbox key, a job and its tick, or what the caller of announce() gave.
    cause       text not null check (cause <> '' and length(cause) <= 255),
    traceparent text,
    -- When the event that caused it reached the worker; null where no event did.
    received_at timestamptz,
    created_at  timestamptz not null default clock_timestamp(),
    primary key (day, id)
) partition by range (day);
create index outbox_order_id on order_worker.outbox (order_id);
create table order_worker.outbox_default partition of order_worker.outbox default;

create table order_worker.outbox_outcomes (
    day        date not null,
    id         bigint not null,
    -- refused: the warehouse's answer was no.
    outcome    text not null check (outcome in ('sent', 'refused', 'skipped')),
    attempts   integer not null,
    reason     text,
    settled_at timestamptz not null default clock_timestamp(),
    primary key (day, id)
) partition by range (day);
create table order_worker.outbox_outcomes_default partition of order_worker.outbox_outcomes default;

-- Partitions ------------------------------------------------------------------------------------------------------------
-- Owned by the migrator, run by the worker: the runtime role may not create or drop tables.

-- Creates the partitions of today and the next `ahead` days. A day whose rows went to the default partition (nobody made its
-- own in time) stays there: returns how many partitions could not be made.
create function order_worker.ensure_partitions(ahead integer default 7) returns integer
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    journal text;
    first date;
    name text;
    missed integer := 0;
begin
    if ahead not between 1 and 60 then
        raise exception 'ensure_partitions: ahead must be 1 to 60, not %', ahead;
    end if;
    perform pg_advisory_xact_lock(hashtext('order_worker.partitions'));
    foreach journal in array array['inbox', 'inbox_outcomes', 'outbox', 'outbox_outcomes'] loop
        for offset_days in 0 .. ahead loop
            first := order_worker.today() + offset_days;
            name := format('%s_%s', journal, to_char(first, 'YYYYMMDD'));
            continue when to_regclass(format('order_worker.%I', name)) is not null;
            begin
                execute format('create table order_worker.%I partition of order_worker.%I for values from (%L) to (%L)',
                    name, journal, first, first + 1);
            exception when check_violation or lock_not_available then
                missed := missed + 1;
            end;
        end loop;
    end loop;
    return missed;
end $$;

-- Drops the days of the journals older than `keep_bodies`. Bodies of rows that are not finished move to the default partition
-- first, in the same transaction; those that were finished since are deleted there, with their outcomes. Returns the names of
-- what was dropped.
create function order_worker.drop_expired_partitions(keep_bodies interval) returns setof text
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    before date := (clock_timestamp() at time zone 'utc' - keep_bodies)::date;
    old record;
    queues text[];
begin
    if keep_bodies < interval '1 day' then
        raise exception 'drop_expired_partitions: bodies are kept for a day at the least, not %', keep_bodies;
    end if;
    perform pg_advisory_xact_lock(hashtext('order_worker.partitions'));
    for old in
        select child.relname::text as name, parent.relname::text as journal
        from pg_inherits
        join pg_class child on child.oid = inhrelid
        join pg_class parent on parent.oid = inhparent
        where parent.relnamespace = 'order_worker'::regnamespace
          and parent.relname in ('inbox', 'inbox_outcomes', 'outbox', 'outbox_outcomes')
          and child.relname ~ '_[0-9]{8}$'
          and to_date(right(child.relname, 8), 'YYYYMMDD') < before
        order by child.relname
    loop
        execute format('alter table order_worker.%I detach partition order_worker.%I', old.journal, old.name);
        queues := case old.journal when 'inbox' then array['inbox'] when 'outbox' then array['dapr', 'warehouse'] end;
        if queues is not null then
            execute format('insert into order_worker.%I select d.* from order_worker.%I d
                where exists (select from order_worker.pending p where p.queue = any($1) and p.id = d.id)', old.journal, old.name)
                using queues;
        end if;
        execute format('drop table order_worker.%I', old.name);
        return next old.name;
    end loop;
    delete from order_worker.inbox_default d
    where d.day < before and not exists (select from order_worker.pending p where p.queue = 'inbox' and p.id = d.id);
    delete from order_worker.inbox_outcomes_default o
    where o.day < before and not exists (select from order_worker.inbox_default d where d.day = o.day and d.id = o.id);
    delete from order_worker.outbox_default d
    where d.day < before
      and not exists (select from order_worker.pending p where p.queue in ('dapr', 'warehouse') and p.id = d.id);
    delete from order_worker.outbox_outcomes_default o
    where o.day < before and not exists (select from order_worker.outbox_default d where d.day = o.day and d.id = o.id);
end $$;
