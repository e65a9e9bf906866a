-- operations/since: what has happened to the orders of these rows since the rows were made, in words.
with subject as (
    select p.id, coalesce(i.subject, o.subject) as order_id, coalesce(i.received_at, o.created_at) as made_at, i.reference as payment_id
    from order_worker.pending p
    left join order_worker.inbox i on p.queue = 'inbox' and i.day = p.day and i.id = p.id
    left join order_worker.outbox o on p.queue in ('dapr', 'warehouse') and o.day = p.day and o.id = p.id
    where p.id = any($1)
), told as (
    select s.id, s.made_at as at, format('there is no order %s', s.order_id) as line
    from subject s
    where s.order_id is not null and not exists (select from public.orders o where o.id = order_worker.order_key(s.order_id))
    union all
    -- That it is cancelled matters, whenever it was.
    select s.id, h.created_at, format('order %s became %s%s', s.order_id, h.new_status, ' (' || nullif(h.reason, '') || ')')
    from subject s
    join public.order_status_history h on h.order_id = order_worker.order_key(s.order_id)
    where h.created_at > s.made_at or h.new_status = 'cancelled'
    union all
    select s.id, f.recorded_at, format('payment %s of order %s was told as %s', f.payment_id, s.order_id, f.kind)
    from subject s
    join order_worker.payment_facts f on f.order_id = s.order_id
    where f.payment_id is distinct from s.payment_id
    union all
    select s.id, n.opened_at,
           format('incident %s of order %s: %s (%s)', n.kind, s.order_id, n.detail, coalesce('resolved by ' || n.resolved_by, 'open'))
    from subject s
    join order_worker.incident_journal n on n.subject = s.order_id
    where n.opened_at > s.made_at
    union all
    select s.id, r.requested_at, format('%s %s of order %s was requested, and is %s', r.kind, r.id, s.order_id, r.status)
    from subject s
    join order_worker.returns r on r.order_id = s.order_id
    where r.requested_at > s.made_at
    union all
    select s.id, e.received_at, format('event %s (%s) of order %s came later: %s', e.event_id, e.topic, s.order_id, e.outcome)
    from subject s
    join order_worker.inbox_status e on e.order_id = s.order_id
    where e.received_at > s.made_at and e.id <> s.id
    union all
    select s.id, d.decided_at, format('%s decided: %s (%s)', d.actor, d.verb, d.reason)
    from subject s
    join order_worker.decisions d on d.id = s.id
)
select id, at, line from told order by id, at limit 5000
