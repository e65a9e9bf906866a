-- Who did what and why. Written through record() alone: the runtime role may read the table and nothing else, and each record
-- carries the hash of the one before it, so that one that was changed or taken out shows.

create table order_worker.audit_log (
    id       bigint primary key,
    at       timestamptz not null default clock_timestamp(),
    -- Who asked, as the command line knows it, and the role that was logged in.
    actor    text not null check (actor <> '' and length(actor) <= 255),
    role     text not null,
    -- What was done ("queue pause") to what ("dapr"), and its particulars.
    action   text not null check (action <> '' and length(action) <= 255),
    target   text not null,
    detail   jsonb not null,
    previous bytea not null check (octet_length(previous) = 32),
    hash     bytea not null check (octet_length(hash) = 32)
);

create function order_worker.audit_hash(entry order_worker.audit_log) returns bytea
    language sql stable
    return sha256(
        (entry).previous || order_worker.sized((entry).id::text)
        || order_worker.sized(to_char((entry).at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
        || order_worker.sized((entry).actor) || order_worker.sized((entry).role) || order_worker.sized((entry).action)
        || order_worker.sized((entry).target) || order_worker.sized((entry).detail::text));

-- Appends a record in the caller's transaction: what is undone leaves none. One after the other, so that the chain is one.
create function order_worker.record(actor text, action text, target text, detail jsonb) returns bigint
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
    entry.hash := order_worker.audit_hash(entry);
    insert into order_worker.audit_log select entry.*;
    return entry.id;
end $$;
