-- Jobs: what is registered, the ledger of their runs, and what an operator has paused. A run that is to be done is a row of
-- `pending` (queue `cron`, key = job, id = the run).

create table order_worker.cron_jobs (
    job             text primary key check (job <> '' and length(job) <= 64),
    -- The expression and the time zone that next_tick was counted with: a worker with other ones schedules nothing.
    schedule        text not null,
    time_zone       text not null,
    -- The first tick that has no run yet, by this database's clock; null: disabled.
    next_tick       timestamptz,
    registered_at   timestamptz not null default clock_timestamp(),
    last_success_at timestamptz
) with (fillfactor = 50);

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
    batches     integer not null default 0,
    outcome     text check (outcome in ('succeeded', 'failed')),
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
    check ((outcome = 'failed') = (error is not null))
);
-- A replay is a run like any other, which only operators ask for.
insert into order_worker.cron_jobs (job, schedule, time_zone) values ('inbox_replay', '', 'UTC');

-- The runs that are to be done: at most one of a job, but for those that an operator asked for.
create index cron_runs_open on order_worker.cron_runs (job, id) where finished_at is null;

-- What is not taken from: a whole queue (key ''), or one job of the queue `cron`.
create table order_worker.pauses (
    queue     text not null check (queue in ('inbox', 'dapr', 'warehouse', 'cron')),
    key       text not null default '',
    paused_at timestamptz not null default clock_timestamp(),
    paused_by text not null,
    reason    text,
    primary key (queue, key),
    check (key = '' or queue = 'cron')
);

create function order_worker.is_paused(queue text, key text default '') returns boolean
    language sql stable
begin atomic
    select exists (select from order_worker.pauses p where p.queue = is_paused.queue and p.key in ('', is_paused.key));
end;
