-- What jobs have to know before they take something away from a customer: what a look at the broker's streams has seen, and of which
-- order each event speaks.

alter table order_worker.stream_cursors
    -- When somebody wanted to look for the first time: the first look begins an overlap before it.
    add column since timestamptz not null default clock_timestamp(),
    -- Entries that were ever added up to last_id, that included; null: this Redis does not tell.
    add column read bigint check (read >= 0),
    -- The last entry that had ever been added at the last look. With entries_added: what falls has been lost.
    add column seen_id text,
    -- lost         something was lost unread, or nobody can say that it was not: until an operator takes note of it
    -- another      this is not the Redis that was read
    -- cannot_look  nobody can look; the next look that can puts it right
    add column alert_kind text check (alert_kind in ('lost', 'another', 'cannot_look'));
update order_worker.stream_cursors set alert_kind = 'lost' where alert is not null;
alter table order_worker.stream_cursors add check ((alert is null) = (alert_kind is null));

comment on column order_worker.stream_cursors.last_id is 'Everything up to this entry, that included, was dealt with.';

-- Next ticks that were counted under a clock that was ahead are counted again.
alter table order_worker.cron_jobs add column counted_at timestamptz not null default clock_timestamp();

-- Events that could not be read had no order so far. What they speak of is found in them all the same, so that no job gives it up.
do $$
declare
    letter record;
    json jsonb;
    named text;
begin
    for letter in select p.id, p.day from order_worker.pending p where p.queue = 'inbox' and p.state <> 'ready' and p.key = '' loop
        begin
            select convert_from(i.body, 'UTF8')::jsonb into json from order_worker.inbox i where i.day = letter.day and i.id = letter.id;
            named := coalesce(json ->> 'order_id', json ->> 'orderId', json #>> '{data,order_id}', json #>> '{data,orderId}');
            if named <> '' and length(named) <= 255 then
                update order_worker.inbox i set order_id = named where i.day = letter.day and i.id = letter.id;
                update order_worker.pending p set key = named where p.id = letter.id;
            end if;
        exception when others then
            null; -- Not even JSON: it stays an event whose order nobody knows.
        end;
    end loop;
end $$;
