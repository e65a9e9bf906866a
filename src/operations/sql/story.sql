-- operations/story: one order on one time line.
select at, kind, what, state, detail
from (
    select received_at as at, 1 as place, 'event' as kind, concat_ws(' ', topic, event_id) as what, outcome as state,
           concat_ws('; ', reason, 'payment ' || payment_id,
                     case when duplicates > 0 then format('came %s times more', duplicates) end) as detail
    from order_worker.inbox_status where order_id = $1
    union all
    select coalesce(order_worker.finite(created_at), to_timestamp(0)), 2, 'status', concat_ws(' ', coalesce(old_status, '(new)'), '->', new_status), null, concat_ws('; ', reason, notes)
    from public.order_status_history where order_id = order_worker.order_key($1)
    union all
    select s.created_at, 3, case s.channel when 'dapr' then 'announcement' else 'warehouse' end,
           concat_ws(' ', s.topic, coalesce(o.body ->> 'new_status', o.body ->> 'reservation_id')), s.state,
           concat_ws('; ', 'id ' || s.event_id, 'sent ' || to_char(s.sent_at at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS"Z"'),
                     format('%s attempts', s.attempts), s.reason, 'cause ' || s.cause)
    from order_worker.outbox_status s
    join order_worker.outbox o on o.day = s.day and o.id = s.id
    where s.order_id = $1
    union all
    select recorded_at, 3, 'refund', refund_id, null,
           concat_ws('; ', concat_ws(' ', amount, currency), 'payment ' || payment_id, nullif(reason, ''), 'cause ' || cause)
    from order_worker.refund_facts where order_id = $1
    union all
    select opened_at, 4, 'incident', kind, case when resolved_at is null then 'open' else 'resolved' end,
           concat_ws('; ', detail, 'resolved by ' || resolved_by)
    from order_worker.incident_journal where subject = $1
    union all
    select d.decided_at, 5, 'decision', concat_ws(' ', d.verb, coalesce(i.event_id, o.event_id::text)), null, concat_ws('; ', d.actor, d.reason)
    from order_worker.decisions d
    left join order_worker.inbox i on i.day = d.day and i.id = d.id and i.subject = $1
    left join order_worker.outbox o on o.day = d.day and o.id = d.id and o.subject = $1
    where d.id in (select id from order_worker.inbox where subject = $1 union all select id from order_worker.outbox where subject = $1)
    union all
    select requested_at, 6, kind, id, status, reason from order_worker.returns where order_id = $1
) story
order by at, place
