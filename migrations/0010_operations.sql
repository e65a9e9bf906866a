-- What operators mend by hand, beyond what the runtime role may do to tables itself.

-- Bodies as they were before somebody edited them.
create table order_worker.edits (
    queue     text not null,
    -- The row of `pending`, and of its journal.
    id        bigint not null,
    edited_at timestamptz not null default clock_timestamp(),
    edited_by text not null,
    reason    text not null,
    old_body  bytea not null
);

-- Gives a dead row another body and makes it ready: the journals are not the runtime role's to change, and here the old body is
-- kept. The event keeps its key and fingerprint, the announcement its id: what comes again is still recognised.
create function order_worker.edit_dead(row_id bigint, new_body bytea, actor text, reason text) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    letter order_worker.pending;
    old_body bytea;
    json jsonb;
    belongs_to text;
begin
    select * into letter from order_worker.pending p where p.id = row_id for update;
    if not found or letter.state <> 'dead' then
        raise exception 'row % is not dead', row_id using errcode = 'check_violation',
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
    update order_worker.pending p set state = 'ready', attempts = 0, due = clock_timestamp() where p.id = letter.id;
    return letter.queue;
end $$;

-- Whether an operator has said that an event is to be applied although its amount is another one.
alter table order_worker.pending add column approved boolean not null default false;

-- What was decided about an event before a replay decided otherwise.
create table order_worker.replaced_outcomes (
    day         date not null,
    id          bigint not null,
    outcome     text not null,
    reason      text,
    settled_at  timestamptz not null,
    replaced_at timestamptz not null default clock_timestamp(),
    -- The replay: cron_runs.id.
    run         bigint not null
);

-- Gives settled events another outcome and keeps the one before: outcomes are not the runtime role's to change.
create function order_worker.rejudge(ids bigint[], days date[], outcomes text[], reasons text[], run bigint) returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    replaced bigint;
begin
    insert into order_worker.replaced_outcomes (day, id, outcome, reason, settled_at, run)
    select o.day, o.id, o.outcome, o.reason, o.settled_at, rejudge.run
    from unnest(ids, days) t (id, day) join order_worker.inbox_outcomes o on o.day = t.day and o.id = t.id;
    update order_worker.inbox_outcomes o
    set outcome = t.outcome, reason = t.reason, settled_at = clock_timestamp()
    from unnest(ids, days, outcomes, reasons) t (id, day, outcome, reason)
    where o.day = t.day and o.id = t.id;
    get diagnostics replaced = row_count;
    return replaced;
end $$;

-- Events that a replay has handed to the inbox again: what became of them decides whether its canary lives.
create table order_worker.replayed (
    run bigint not null references order_worker.cron_runs (id) on delete cascade,
    id  bigint not null,
    primary key (run, id)
);
