-- What operators do to many rows at once, as runs, and when the proof was made last.

-- Dead rows that an operator has chosen, to be tried again or given up: a run like any other, which only operators ask for.
insert into order_worker.cron_jobs (job, schedule, time_zone) values ('dead_letters', '', 'UTC');

-- Its rows: those that were chosen, whatever dies meanwhile.
create table order_worker.selected (
    run bigint not null references order_worker.cron_runs (id) on delete cascade,
    id  bigint not null,
    primary key (run, id)
);

-- Each conservation proof that was made (`order-worker audit`), and what it found.
create table order_worker.proofs (
    made_at    timestamptz primary key default clock_timestamp(),
    -- The first day that it looked at; null: all of them.
    since      date,
    days       integer not null check (days >= 0),
    violations bigint not null check (violations >= 0)
);
