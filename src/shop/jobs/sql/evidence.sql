-- jobs/evidence: what is known of payments that may be under way: what the last look at each stream said (in the order of $1), whether
-- payment events were ever taken in here, and the events of the inbox whose order nobody can tell. Always one row.
select clock_timestamp() as now, exists (select from order_worker.worker_terms where kind = 'events') as takes_events,
       unreadable.events as unreadable, unreadable.latest as unreadable_until, streams.watermarks, streams.alerts, streams.alert_kinds
from (
    select coalesce(array_agg(c.watermark order by s.place), '{}') as watermarks, coalesce(array_agg(c.alert order by s.place), '{}') as alerts,
           coalesce(array_agg(c.alert_kind order by s.place), '{}') as alert_kinds
    from unnest($1::text[]) with ordinality s (stream, place)
    left join order_worker.stream_cursors c on c.stream = s.stream
) streams
cross join lateral (
    -- Only the first thousand are counted. Ids rise with time, but for what was committed side by side.
    select count(*) as events, (
        select max(created_at) from (
            select created_at from order_worker.pending where queue = 'inbox' and key = '' and state <> 'ready' order by id desc limit 100) last_ones
    ) as latest
    from (select from order_worker.pending where queue = 'inbox' and key = '' and state <> 'ready' limit 1000) thousand
) unreadable
