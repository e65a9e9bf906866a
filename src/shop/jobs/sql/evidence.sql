-- jobs/evidence: what is known of payments that may be under way: of each stream what its last look said, whether payment events were
-- ever taken in here, and the events of the inbox whose order nobody can tell. One row without a stream where none is looked at.
select clock_timestamp() as now, s.stream, c.watermark, c.alert, c.alert_kind,
       exists (select from order_worker.worker_terms where kind = 'events') as takes_events,
       unreadable.events as unreadable, unreadable.latest as unreadable_until
from (values (1)) one
cross join lateral (
    -- Only the first thousand are counted. Ids rise with time, but for what was committed side by side.
    select count(*) as events, (
        select max(created_at) from (
            select created_at from order_worker.pending where queue = 'inbox' and key = '' and state <> 'ready' order by id desc limit 100) last_ones
    ) as latest
    from (select from order_worker.pending where queue = 'inbox' and key = '' and state <> 'ready' limit 1000) thousand
) unreadable
left join unnest($1::text[]) with ordinality s (stream, place) on true
left join order_worker.stream_cursors c on c.stream = s.stream
order by s.place
