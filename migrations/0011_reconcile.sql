-- How far the worker has read the broker's streams itself, for what Dapr has acknowledged without having delivered it.
create table order_worker.stream_cursors (
    stream        text primary key,
    -- Everything up to this entry was looked at. The next look begins an overlap before it.
    last_id       text not null default '0-0',
    -- As they were at that look: what falls or changes has been lost.
    entries_added bigint,
    run_id        text,
    -- Everything that was published before this moment, by this database's clock, is in the inbox; null: nobody knows yet.
    watermark     timestamptz,
    read_at       timestamptz,
    -- One replica looks at a time.
    claimed_until timestamptz not null default '-infinity',
    -- What is wrong with the stream; null: nothing.
    alert         text,
    saved         bigint not null default 0
);
