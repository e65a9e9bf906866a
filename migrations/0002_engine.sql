-- The engine: events are kept in an inbox, messages in an outbox, and what is to be done about them in a queue; runs do work in batches;
-- operators look on and decide. It knows nothing of what events and messages say: what they are about is their subject, a text
-- (order_worker.subject_text), and where messages go to is declared to it (declare_channels).

-- Journals --------------------------------------------------------------------------------------------------------------
-- The inbox and the outbox are immutable journals in partitions of a week (by day, UTC), each with
--   *_keys      what makes it idempotent, kept longer than the bodies and never partitioned: a key is unique for its whole life;
--   *_outcomes  how a row was settled, written once, dropped together with the week of its journal.
-- The runtime role may insert into a journal and read it, nothing else.

-- One for all journals, so that an id alone names a row of `pending`.
create sequence order_worker.journal_id;

create function order_worker.today() returns date
    language sql stable parallel safe
    return (clock_timestamp() at time zone 'utc')::date;

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
    -- Read from the body, null where it could not be: what the event is about, and what else it is known by.
    subject     text,
    reference   text,
    -- The rest of the envelope, for people.
    headers     jsonb not null,
    traceparent text,
    -- `data` as received.
    body        bytea not null,
    fingerprint bytea not null,
    received_at timestamptz not null default clock_timestamp(),
    primary key (day, id)
) partition by range (day);
create index inbox_subject on order_worker.inbox (subject);
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

create table order_worker.outbox_keys (
    -- The CloudEvent id, or the idempotency key of a call: order_worker.event_id().
    event_id  uuid primary key,
    body_hash bytea not null check (octet_length(body_hash) = 32),
    -- What a request said beyond what makes the id of its message; null of what no request made.
    arguments bytea,
    id        bigint not null,
    day       date not null
);
create index outbox_keys_day on order_worker.outbox_keys using brin (day);

create table order_worker.outbox (
    day         date not null,
    id          bigint not null,
    event_id    uuid not null,
    -- One of those that declare_channels() was given.
    channel     text not null,
    -- The topic to publish to, or the method to call.
    topic       text not null check (topic <> '' and length(topic) <= 255),
    subject     text not null,
    body        jsonb not null check (octet_length(body::text) <= 1048576),
    -- What made it: an inbox key, a job and its tick, or what a caller gave.
    cause       text not null check (cause <> '' and length(cause) <= 255),
    traceparent text,
    -- When the event that caused it reached the worker; null where no event did.
    received_at timestamptz,
    created_at  timestamptz not null default clock_timestamp(),
    primary key (day, id)
) partition by range (day);
create index outbox_subject on order_worker.outbox (subject);
create table order_worker.outbox_default partition of order_worker.outbox default;

create table order_worker.outbox_outcomes (
    day        date not null,
    id         bigint not null,
    -- refused   the receiver's answer was no
    -- skipped   a person has given it up
    -- obsolete  a call that nobody wanted any more when its turn came: it was not made
    outcome    text not null check (outcome in ('sent', 'refused', 'skipped', 'obsolete')),
    attempts   integer not null,
    reason     text,
    settled_at timestamptz not null default clock_timestamp(),
    primary key (day, id)
) partition by range (day);
create table order_worker.outbox_outcomes_default partition of order_worker.outbox_outcomes default;

-- A part of what is hashed, with its length before it, so that no two lists of parts hash alike.
create function order_worker.sized(part text) returns bytea
    language sql immutable strict parallel safe
    return int4send(octet_length(part)) || convert_to(part, 'UTF8');

-- The CloudEvent id, and the idempotency key of a call: 128 bits of a sha256 over parts with their lengths.
create function order_worker.event_id(cause text, channel text, topic text, subject text, variant text) returns uuid
    language sql immutable strict parallel safe
    return encode(substr(sha256(
        order_worker.sized('order-worker/v1') || order_worker.sized(cause) || order_worker.sized(channel)
        || order_worker.sized(topic) || order_worker.sized(subject) || order_worker.sized(variant)
    ), 1, 16), 'hex')::uuid;

-- Partitions ------------------------------------------------------------------------------------------------------------
-- Owned by the migrator, run by the worker: the runtime role may not create or drop tables.

-- The partitions of the journals with their bounds: days from `lower` on, before `upper`. The default partitions have none.
create function order_worker.partitions() returns table (journal text, name text, lower date, upper date)
    language sql stable
as $$
    select parent.relname::text, child.relname::text, (bound.days[1])::date, (bound.days[2])::date
    from pg_inherits
    join pg_class child on child.oid = inhrelid
    join pg_class parent on parent.oid = inhparent
    cross join lateral regexp_match(pg_get_expr(child.relpartbound, child.oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') bound (days)
    where parent.relnamespace = 'order_worker'::regnamespace
      and parent.relname in ('inbox', 'inbox_outcomes', 'outbox', 'outbox_outcomes') and bound.days is not null
$$;

-- Makes the partitions of today and the next `ahead` days, a week each, from Monday on: a statement over a journal locks each of its
-- partitions, and a year of days would be more than Postgres' lock table holds by default. Days that have a partition keep it. A week
-- whose rows went to the default partition (nobody made its own in time) stays there: returns how many partitions could not be made.
create function order_worker.ensure_partitions(ahead integer default 7) returns integer
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
<<ensure_partitions>>
declare
    wanted text;
    first date;
    next date;
    missed integer := 0;
begin
    if ahead not between 1 and 60 then
        raise exception 'ensure_partitions: ahead must be 1 to 60, not %', ahead;
    end if;
    perform pg_advisory_xact_lock(hashtext('order_worker.partitions'));
    foreach wanted in array array['inbox', 'inbox_outcomes', 'outbox', 'outbox_outcomes'] loop
        first := order_worker.today();
        while first <= order_worker.today() + ahead loop
            select p.upper into next from order_worker.partitions() p
            where p.journal = wanted and p.lower <= first and p.upper > first;
            if not found then
                -- From Monday, or from where the one before ends, to the next Monday, or to where the next one begins.
                first := greatest(date_trunc('week', first)::date, (
                    select max(p.upper) from order_worker.partitions() p
                    where p.journal = wanted and p.upper <= first));
                next := least(date_trunc('week', first)::date + 7, (
                    select min(p.lower) from order_worker.partitions() p
                    where p.journal = wanted and p.lower > first));
                begin
                    execute format('create table order_worker.%I partition of order_worker.%I for values from (%L) to (%L)',
                        format('%s_%s', wanted, to_char(first, 'YYYYMMDD')), wanted, first, next);
                exception when check_violation or lock_not_available then
                    missed := missed + 1;
                end;
            end if;
            first := next;
        end loop;
    end loop;
    return missed;
end $$;

-- Drops partitions of the journals all of whose days are older than `keep_bodies`, the oldest first and at most `most` of them: what a
-- transaction locks has a bound, and whoever calls again goes on. Bodies of rows that are not finished move to the default partition
-- first, in the same transaction; those that were finished since are deleted there, with their outcomes. Returns the names of what was
-- dropped.
create function order_worker.drop_expired_partitions(keep_bodies interval, most integer default 8) returns setof text
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    before date := (clock_timestamp() at time zone 'utc' - keep_bodies)::date;
    old record;
begin
    if keep_bodies < interval '1 day' then
        raise exception 'drop_expired_partitions: bodies are kept for a day at the least, not %', keep_bodies;
    end if;
    perform pg_advisory_xact_lock(hashtext('order_worker.partitions'));
    for old in
        select p.name, p.journal from order_worker.partitions() p where p.upper <= before order by p.lower, p.name limit most
    loop
        execute format('alter table order_worker.%I detach partition order_worker.%I', old.journal, old.name);
        if old.journal in ('inbox', 'outbox') then
            execute format('insert into order_worker.%I select d.* from order_worker.%I d
                where exists (select from order_worker.pending p where p.id = d.id)', old.journal, old.name);
        end if;
        execute format('drop table order_worker.%I', old.name);
        return next old.name;
    end loop;
    delete from order_worker.inbox_default d
    where d.day < before and not exists (select from order_worker.pending p where p.id = d.id);
    delete from order_worker.inbox_outcomes_default o
    where o.day < before and not exists (select from order_worker.inbox_default d where d.day = o.day and d.id = o.id);
    delete from order_worker.outbox_default d
    where d.day < before and not exists (select from order_worker.pending p where p.id = d.id);
    delete from order_worker.outbox_outcomes_default o
    where o.day < before and not exists (select from order_worker.outbox_default d where d.day = o.day and d.id = o.id);
end $$;

-- Forgets keys older than `keep`, at most `most` of each journal; keys of rows that are not finished stay. Returns the larger of
-- the two numbers: call again while it is `most`.
create function order_worker.forget_keys(keep interval, most bigint) returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    before date := (clock_timestamp() at time zone 'utc' - keep)::date;
    inbox_forgotten bigint;
    outbox_forgotten bigint;
begin
    if keep < interval '1 day' then
        raise exception 'forget_keys: keys are kept for a day at the least, not %', keep;
    end if;
    delete from order_worker.inbox_keys where ctid = any(array(
        select k.ctid from order_worker.inbox_keys k
        where k.day < before and not exists (select from order_worker.pending p where p.id = k.id)
        limit most));
    get diagnostics inbox_forgotten = row_count;
    delete from order_worker.outbox_keys where ctid = any(array(
        select k.ctid from order_worker.outbox_keys k
        where k.day < before and not exists (select from order_worker.pending p where p.id = k.id)
        limit most));
    get diagnostics outbox_forgotten = row_count;
    return greatest(inbox_forgotten, outbox_forgotten);
end $$;

-- The first day that the outbox has a partition of: what is older is kept for its own sake only, and says nothing of its day.
create function order_worker.first_day() returns date
    language sql stable
as $$ select min(p.lower) from order_worker.partitions() p where p.journal = 'outbox' $$;

-- The queue -------------------------------------------------------------------------------------------------------------

-- The lane of a key: frozen, since the rows of one key must stay in one lane for ever. 64 lanes, 0 to 63.
create function order_worker.lane(key text) returns smallint
    language sql immutable strict parallel safe
    return (('x' || left(md5(key), 2))::bit(8)::integer & 63)::smallint;

-- One mechanism for everything that is to be done. `pending` holds only what is not finished: a settled row is deleted, so
-- that the table stays as small as the work in hand, whatever the history.
create table order_worker.pending (
    -- inbox, cron, or a channel
    queue      text not null,
    -- The id of the row's body in its journal, and that body's day.
    id         bigint not null,
    day        date not null,
    lane       smallint not null check (lane between 0 and 63),
    -- Rows of one key go one after the other.
    key        text not null,
    -- ready        to be done now
    -- waiting      to be done when due (a failed attempt, a subject that does not exist yet or is locked)
    -- blocked      behind a waiting or dead row of the same key; behind a dead one it is called parked
    -- held         waits for an operator's decision
    -- dead         given up after its attempts, or impossible to read
    -- quarantined  the same event id came before with another body
    state      text not null default 'ready'
               check (state in ('ready', 'waiting', 'blocked', 'held', 'dead', 'quarantined')),
    due        timestamptz not null default clock_timestamp(),
    -- Failures of this row while others succeeded; failures of the environment are not counted.
    attempts   integer not null default 0 check (attempts >= 0),
    -- Times a worker died without a word while it had this row in hand.
    exposed    integer not null default 0 check (exposed >= 0),
    last_error text,
    -- Which edition of the row somebody has in hand: a row that is sent again, or whose body was edited, is another one, and who settles
    -- the one before leaves it alone.
    edition    bigint not null default 0,
    -- Whether an operator has said that an event which was held is to be applied.
    approved   boolean not null default false,
    created_at timestamptz not null default clock_timestamp(),
    -- By id alone: no index that begins with the queue could be taken for a way to find single rows.
    primary key (id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
create index pending_ready on order_worker.pending (queue, lane, id) where state = 'ready';
create index pending_waiting on order_worker.pending (queue, due) where state = 'waiting';
-- An earlier row of a key is found whatever its state: a row that was made ready again, or that committed late, may stand below the
-- floor from which its lane is read, and nothing later of its key may be sent before it.
create index pending_key on order_worker.pending (queue, key, id);
create index pending_unready on order_worker.pending (queue, key, id) where state <> 'ready';

-- Who is alive. A row is the lease of its worker on all its lanes; it is renewed by the database's clock alone.
create table order_worker.workers (
    -- A channel.
    queue       text not null,
    worker      text not null,
    started_at  timestamptz not null default clock_timestamp(),
    lease_until timestamptz not null,
    -- The rows it is sending now: after its death, those that may have been sent without being settled.
    in_hand     bigint[] not null default '{}',
    -- From which queues the worker takes rows besides the one of this lease: whether anybody performs what commands ask for.
    drains      text[],
    primary key (queue, worker)
) with (fillfactor = 50);

create table order_worker.lanes (
    -- A channel.
    queue text not null,
    lane  smallint not null check (lane between 0 and 63),
    -- A worker of order_worker.workers; null: free. No foreign key: a lane outlives its owner by a moment.
    owner text,
    primary key (queue, lane)
) with (fillfactor = 50);

-- Which rows were in hand when their worker died: they may have been sent more than once.
create table order_worker.exposures (
    queue    text not null,
    id       bigint not null,
    worker   text not null,
    found_at timestamptz not null default clock_timestamp()
);

-- What is not taken from: a whole queue (key ''), or one job of the queue `cron`.
create table order_worker.pauses (
    queue     text not null,
    key       text not null default '',
    paused_at timestamptz not null default clock_timestamp(),
    paused_by text not null,
    reason    text,
    primary key (queue, key),
    check (key = '' or queue = 'cron')
);

-- Declares all channels, ways for messages to go out: each is a queue with lanes. A migration that adds one names the others again.
create function order_worker.declare_channels(variadic channels text[]) returns void
    language plpgsql
as $$
declare
    queues constant text[] := array['inbox', 'cron'] || channels;
    checked record;
begin
    for checked in
        select t.name, t.col, t.among from (values
            ('outbox', 'channel', channels), ('workers', 'queue', channels), ('lanes', 'queue', channels),
            ('pending', 'queue', queues), ('pauses', 'queue', queues)) t (name, col, among)
    loop
        execute format(
            'alter table order_worker.%1$I drop constraint if exists %2$I, add constraint %2$I check (%3$I in (%4$s))',
            checked.name, format('%s_%s_check', checked.name, checked.col), checked.col,
            (select string_agg(quote_literal(one), ', ') from unnest(checked.among) one));
    end loop;
    insert into order_worker.lanes (queue, lane)
    select channel, lane from unnest(channels) channel, generate_series(0, 63) lane
    on conflict do nothing;
end $$;

create function order_worker.is_paused(queue text, key text default '') returns boolean
    language sql stable
begin atomic
    select exists (select from order_worker.pauses p where p.queue = is_paused.queue and p.key in ('', is_paused.key));
end;

-- Writing the outbox, completing the inbox ------------------------------------------------------------------------------

-- Writes outbox rows and what is to be done about them. `keys` is what keeps the order: rows of one key go out one after the
-- other. The caller holds the lock on the subjects. A row that is there already is passed over when its body is the same, and an
-- error when it is not. Returns how many rows are new.
create function order_worker.append_outbox(
    causes text[], channels text[], topics text[], subjects text[], keys text[], variants text[], bodies jsonb[],
    traceparents text[], received_ats timestamptz[]
) returns integer
    language plpgsql set enable_seqscan = off set enable_mergejoin = off
as $$
declare
    fresh_rows integer;
    clash record;
begin
    with entry as (
        select nextval('order_worker.journal_id') as id, order_worker.today() as day,
               order_worker.event_id(cause, channel, topic, subject, variant) as event_id,
               sha256(convert_to(body::text, 'UTF8')) as body_hash, e.*
        from (
            select * from unnest(causes, channels, topics, subjects, keys, variants, bodies, traceparents, received_ats)
                with ordinality as t (cause, channel, topic, subject, key, variant, body, traceparent, received_at, ord)
            order by ord
        ) e
    ), fresh as (
        insert into order_worker.outbox_keys (event_id, body_hash, id, day)
        select event_id, body_hash, id, day from entry order by event_id, id
        on conflict do nothing
        returning id
    ), journal as (
        insert into order_worker.outbox (day, id, event_id, channel, topic, subject, body, cause, traceparent, received_at)
        select day, id, event_id, channel, topic, subject, body, cause, traceparent, received_at
        from entry join fresh using (id)
    )
    insert into order_worker.pending (queue, id, day, lane, key)
    select channel, id, day, order_worker.lane(key), key from entry join fresh using (id);
    get diagnostics fresh_rows = row_count;

    if fresh_rows < cardinality(causes) then
        select e.topic, e.subject, e.cause, k.event_id into clash
        from unnest(causes, channels, topics, subjects, variants, bodies)
            as e (cause, channel, topic, subject, variant, body)
        cross join lateral (
            select * from order_worker.outbox_keys k
            where k.event_id = order_worker.event_id(e.cause, e.channel, e.topic, e.subject, e.variant) offset 0
        ) k
        where k.body_hash <> sha256(convert_to(e.body::text, 'UTF8'))
        limit 1;
        if found then
            raise exception 'outbox: % of % was written before under id %, with another body', clash.topic, clash.subject, clash.event_id
                using errcode = 'unique_violation',
                      hint = format('cause %L stands for one message: give another cause, or the same body', clash.cause);
        end if;
    end if;
    return fresh_rows;
end $$;

-- Whether an event came without data and waits for it: nobody has decided about it or given it another body. Its fingerprint is that
-- of no bytes at all.
create function order_worker.waits_for_data(k order_worker.inbox_keys) returns boolean
    language sql stable
    return k.fingerprint = sha256('\x0000000000000000'::bytea) and exists (
        select from order_worker.pending p
        cross join lateral (select i.body from order_worker.inbox i where i.day = p.day and i.id = p.id offset 0) i
        where p.id = k.id and p.queue = 'inbox' and i.body = ''::bytea);

-- Gives an event that came without data the body that it was published with: the journals are not the runtime role's to change. True:
-- it has it now; false: it came without data, and somebody has decided about it; null: it came with another body.
create function order_worker.complete_event(
    event_key bytea, new_body bytea, new_fingerprint bytea, new_subject text, new_reference text, new_state text, reason text
) returns boolean
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    known order_worker.inbox_keys;
begin
    select * into known from order_worker.inbox_keys k where k.key = event_key for update;
    if not found or known.fingerprint <> sha256('\x0000000000000000'::bytea) then
        return null;
    end if;
    perform from order_worker.pending p where p.id = known.id for update;
    if not order_worker.waits_for_data(known) then
        return false;
    end if;
    update order_worker.inbox_keys k set fingerprint = new_fingerprint where k.key = event_key;
    update order_worker.inbox i
    set body = new_body, fingerprint = new_fingerprint, subject = order_worker.subject_text(new_subject), reference = new_reference
    from order_worker.pending p
    where p.id = known.id and i.day = p.day and i.id = p.id;
    update order_worker.pending p
    set state = new_state, key = coalesce(order_worker.subject_text(new_subject), ''), last_error = reason, due = clock_timestamp()
    where p.id = known.id;
    return true;
end $$;

-- Runs ------------------------------------------------------------------------------------------------------------------
-- Jobs: what is registered, and the ledger of their runs. A run that is to be done is a row of `pending` (queue `cron`, key = job,
-- id = the run).

create table order_worker.cron_jobs (
    job              text primary key check (job <> '' and length(job) <= 64),
    -- The expression and the time zone that next_tick was counted with: a worker with other ones schedules nothing.
    schedule         text not null,
    time_zone        text not null,
    -- The first tick that has no run yet, by this database's clock; null: disabled.
    next_tick        timestamptz,
    registered_at    timestamptz not null default clock_timestamp(),
    -- The registration is a lease: how long it is sure that a worker is there which runs the job by this schedule, or keeps it disabled.
    -- When it has run out, a worker that runs it otherwise registers it anew. Null: no worker registers it.
    registered_until timestamptz,
    last_success_at  timestamptz
) with (fillfactor = 50);
-- What only operators ask for is a run like any other: a replay, and dead rows that they have chosen, to be tried again or given up.
insert into order_worker.cron_jobs (job, schedule, time_zone) values ('inbox_replay', '', 'UTC'), ('dead_letters', '', 'UTC');

-- Whether it is sure that somebody is there: a time that no worker can have written is a clock's that was wrong.
create function order_worker.is_registered(until timestamptz, lease float8) returns boolean
    language sql stable
begin atomic
    select coalesce(until > clock_timestamp() and until < clock_timestamp() + 2 * lease * interval '1 second', false);
end;

create table order_worker.cron_runs (
    id          bigint primary key default nextval('order_worker.journal_id'),
    job         text not null references order_worker.cron_jobs (job),
    tick        timestamptz not null,
    -- scheduled  at its tick
    -- caught_up  late: nobody was there at its tick, and those of `missed` ticks from missed_from on got no run of their own
    -- manual     asked for by an operator; its tick is the moment in which it was asked for
    kind        text not null check (kind in ('scheduled', 'caught_up', 'manual')),
    missed      integer not null default 0 check (missed >= 0),
    missed_from timestamptz check ((missed_from is null) = (missed = 0)),
    started_at  timestamptz,
    finished_at timestamptz,
    -- Who made its last batch.
    worker      text,
    items       bigint not null default 0,
    -- Rows that could not be done while others could: the run went on behind them.
    passed_over bigint not null default 0 check (passed_over >= 0),
    batches     integer not null default 0,
    outcome     text check (outcome in ('succeeded', 'failed')),
    -- Of a run that failed: why it did. Of one that is to be done: why its last batch failed. Of one that succeeded: why it passed over
    -- the last row that it did.
    error       text,
    -- Behind the last candidate that was looked at: by time, then by id.
    cursor_at   timestamptz,
    cursor_id   text,
    -- Of a replay: what was asked for, and what it has come to.
    request     jsonb,
    result      jsonb,
    -- A tick runs once.
    unique (job, tick),
    check ((finished_at is null) = (outcome is null)),
    constraint cron_runs_failed_says_why check (outcome is distinct from 'failed' or error is not null)
);
-- The runs that are to be done: at most one of a job, but for those that an operator asked for.
create index cron_runs_open on order_worker.cron_runs (job, id) where finished_at is null;

-- The rows of a run over dead letters: those that were chosen, whatever dies meanwhile.
create table order_worker.selected (
    run bigint not null references order_worker.cron_runs (id) on delete cascade,
    id  bigint not null,
    primary key (run, id)
);

-- Events that a replay has handed to the inbox again: what became of them decides whether its canary lives.
create table order_worker.replayed (
    run bigint not null references order_worker.cron_runs (id) on delete cascade,
    id  bigint not null,
    primary key (run, id)
);

-- Operators -------------------------------------------------------------------------------------------------------------

-- Who did what and why. Written through record() alone: the runtime role may read the table and nothing else, and each record
-- carries the hash of the one before it, so that one that was changed or taken out shows.
create table order_worker.audit_log (
    id       bigint primary key,
    at       timestamptz not null default clock_timestamp(),
    -- Who asked, as the command line knows it, and the role that was logged in.
    actor    text not null check (actor <> '' and length(actor) <= 255),
    role     text not null,
    -- Where the record was written: the machine or pod, beside the person and the database role.
    host     text,
    -- What was done ("queue pause") to what ("inbox"), and its particulars.
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
        || order_worker.sized((entry).target) || order_worker.sized((entry).detail::text)
        || coalesce(order_worker.sized((entry).host), ''::bytea));

-- Appends a record in the caller's transaction: what is undone leaves none. One after the other, so that the chain is one.
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

-- What a person has decided about an event or a message, in one transaction with its effect. It is final: a replay leaves what was
-- rejected, dropped or skipped alone, unless it is told otherwise by name.
create table order_worker.decisions (
    -- The row's number and day in its journal.
    id         bigint not null,
    day        date not null,
    actor      text not null check (actor <> ''),
    -- approve  a held event is applied
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

-- Gives a row that was given up, or waits for its next attempt, another body and makes it ready: the journals are not the runtime
-- role's to change, and here the old body is kept. The event keeps its key and fingerprint, the message its id: what comes again is still
-- recognised. What a body has to be, and what it is about, the caller has found out; here stands what must hold
-- whatever the caller. Returns the queue.
create function order_worker.edit_row(
    row_id bigint, new_body bytea, new_subject text, new_reference text, actor text, reason text
) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    it order_worker.pending;
    old_body bytea;
    json jsonb;
    belongs_to text;
begin
    select * into it from order_worker.pending p where p.id = row_id for update;
    if not found or it.queue = 'cron' or it.state not in ('dead', 'waiting') then
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
    if it.queue = 'inbox' then
        select i.body into strict old_body from order_worker.inbox i where i.day = it.day and i.id = it.id;
        update order_worker.inbox i
        set body = new_body, subject = order_worker.subject_text(new_subject), reference = new_reference
        where i.day = it.day and i.id = it.id;
        update order_worker.pending p set key = coalesce(order_worker.subject_text(new_subject), '') where p.id = it.id;
    else
        select convert_to(o.body::text, 'UTF8'), o.subject into strict old_body, belongs_to
        from order_worker.outbox o where o.day = it.day and o.id = it.id;
        if new_subject is distinct from belongs_to then
            raise exception 'the new body is about %, the message about %', coalesce(new_subject, '(nothing)'), belongs_to
                using errcode = 'check_violation';
        end if;
        update order_worker.outbox o set body = json where o.day = it.day and o.id = it.id;
        update order_worker.outbox_keys k set body_hash = sha256(convert_to(json::text, 'UTF8')) where k.id = it.id
            and k.event_id = (select o.event_id from order_worker.outbox o where o.day = it.day and o.id = it.id);
    end if;
    insert into order_worker.edits (queue, id, edited_by, reason, old_body) values (it.queue, it.id, actor, reason, old_body);
    insert into order_worker.decisions (id, day, actor, verb, reason) values (it.id, it.day, actor, 'edit', reason);
    -- Another edition: who has the one before in hand settles it no more.
    update order_worker.pending p
    set state = 'ready', attempts = 0, due = clock_timestamp(), edition = nextval('order_worker.journal_id')
    where p.id = it.id;
    return it.queue;
end $$;

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

-- The kinds of incidents: whoever opens some adds theirs.
create table order_worker.incident_kinds (
    kind text primary key check (kind <> '')
);
insert into order_worker.incident_kinds values ('same_id_other_body');

-- Incidents: what a person has to look at. Read through the view order_worker.incidents.
create table order_worker.incident_journal (
    id          bigint generated always as identity primary key,
    kind        text not null references order_worker.incident_kinds,
    subject     text,
    -- What of the subject it is about; null where it is about all of it. One cause may have several of these.
    reference   text,
    -- The inbox key of the event that opened it, in hexadecimal, or another cause as the outbox has it.
    cause       text not null,
    detail      text not null,
    opened_at   timestamptz not null default clock_timestamp(),
    resolved_at timestamptz,
    resolved_by text,
    -- The same cause tells the same incident once.
    constraint incident_journal_once unique nulls not distinct (kind, subject, cause, reference)
);
create index incident_journal_open on order_worker.incident_journal (kind) where resolved_at is null;
-- Whose incidents an event has caused.
create index incident_journal_cause on order_worker.incident_journal (cause);

-- Each conservation proof that was made (`order-worker audit`), and what it found.
create table order_worker.proofs (
    made_at    timestamptz primary key default clock_timestamp(),
    -- The first day that it looked at; null: all of them.
    since      date,
    days       integer not null check (days >= 0),
    violations bigint not null check (violations >= 0)
);

-- By which settings workers judge, as the one that started last has said. A worker performs by its own configuration: these rows are
-- for whoever has to judge without being one, and tell which kinds of workers this database has ever had.
create table order_worker.worker_terms (
    -- events  how events are judged: a worker in mode event or all
    -- jobs    what the jobs give up after how long: a worker in mode cron or all
    kind          text primary key check (kind in ('events', 'jobs')),
    -- Versions differ in what they know: a reader passes over what it does not.
    terms         jsonb not null check (jsonb_typeof(terms) = 'object'),
    worker        text not null,
    version       text not null,
    registered_at timestamptz not null default clock_timestamp()
);

-- Streams ---------------------------------------------------------------------------------------------------------------

-- How far the worker has read the broker's streams itself, for what was acknowledged without having been delivered.
create table order_worker.stream_cursors (
    stream        text primary key,
    -- When somebody wanted to look for the first time: the first look begins an overlap before it.
    since         timestamptz not null default clock_timestamp(),
    -- Everything up to this entry, that included, was dealt with. The next look begins an overlap before it.
    last_id       text not null default '0-0',
    -- Entries that were ever added up to last_id, that included; null: this server does not tell.
    read          bigint check (read >= 0),
    -- As they were at the last look: the last entry that had ever been added, how many had been, and which server it was. What falls or
    -- changes has been lost.
    seen_id       text,
    entries_added bigint,
    run_id        text,
    -- Everything that was published before this moment, by this database's clock, is in the inbox; null: nobody knows yet.
    watermark     timestamptz,
    read_at       timestamptz,
    -- One replica looks at a time.
    claimed_until timestamptz not null default '-infinity',
    -- What is wrong with the stream; null: nothing.
    alert         text,
    -- lost         something was lost unread, or nobody can say that it was not: until an operator takes note of it
    -- another      this is not the server that was read
    -- cannot_look  nobody can look; the next look that can puts it right
    alert_kind    text check (alert_kind in ('lost', 'another', 'cannot_look')),
    -- Events that only this reading has brought.
    saved         bigint not null default 0,
    check ((alert is null) = (alert_kind is null))
);
