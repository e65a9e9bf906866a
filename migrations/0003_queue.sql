-- One queue mechanism for everything that is to be done (src/queue). `pending` holds only what is not finished: a settled row is
-- deleted, so that the table stays as small as the work in hand, whatever the history.

-- The lane of a key: frozen, since the rows of one key must stay in one lane for ever. 64 lanes, 0 to 63.
create function order_worker.lane(key text) returns smallint
    language sql immutable strict parallel safe
    return (('x' || left(md5(key), 2))::bit(8)::integer & 63)::smallint;

create table order_worker.pending (
    queue      text not null check (queue in ('inbox', 'dapr', 'warehouse', 'cron')),
    -- The id of the row's body in its journal, and that body's day.
    id         bigint not null,
    day        date not null,
    lane       smallint not null check (lane between 0 and 63),
    -- What the row's order is kept by: the order, or the reservation.
    key        text not null,
    -- ready        to be done now
    -- waiting      to be done when due (a failed attempt, an order that does not exist yet or is locked)
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
    created_at timestamptz not null default clock_timestamp(),
    -- By id alone: no index that begins with the queue could be taken for a way to find single rows.
    primary key (id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
create index pending_ready on order_worker.pending (queue, lane, id) where state = 'ready';
create index pending_waiting on order_worker.pending (queue, due) where state = 'waiting';
create index pending_unready on order_worker.pending (queue, key, id) where state <> 'ready';

-- Who is alive. A row is the lease of its worker on all its lanes; it is renewed by the database's clock alone.
create table order_worker.workers (
    queue       text not null check (queue in ('dapr', 'warehouse')),
    worker      text not null,
    started_at  timestamptz not null default clock_timestamp(),
    lease_until timestamptz not null,
    -- The rows it is sending now: after its death, those that may have been sent without being settled.
    in_hand     bigint[] not null default '{}',
    primary key (queue, worker)
) with (fillfactor = 50);

create table order_worker.lanes (
    queue text not null check (queue in ('dapr', 'warehouse')),
    lane  smallint not null check (lane between 0 and 63),
    -- A worker of order_worker.workers; null: free. No foreign key: a lane outlives its owner by a moment.
    owner text,
    primary key (queue, lane)
) with (fillfactor = 50);
insert into order_worker.lanes (queue, lane)
select queue, lane from unnest(array['dapr', 'warehouse']) queue, generate_series(0, 63) lane;

-- Which rows were in hand when their worker died: they may have been sent more than once.
create table order_worker.exposures (
    queue    text not null,
    id       bigint not null,
    worker   text not null,
    found_at timestamptz not null default clock_timestamp()
);

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
        where k.day < before and not exists (select from order_worker.pending p where p.queue = 'inbox' and p.id = k.id)
        limit most));
    get diagnostics inbox_forgotten = row_count;
    delete from order_worker.outbox_keys where ctid = any(array(
        select k.ctid from order_worker.outbox_keys k
        where k.day < before
          and not exists (select from order_worker.pending p where p.queue in ('dapr', 'warehouse') and p.id = k.id)
        limit most));
    get diagnostics outbox_forgotten = row_count;
    return greatest(inbox_forgotten, outbox_forgotten);
end $$;
