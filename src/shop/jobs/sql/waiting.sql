-- cron/waiting: of these orders, those about which something speaks: an event in the inbox, in whatever state; a payment that was
-- confirmed, whatever became of the order's status since; an incident that nobody has resolved. A clock must not win against any of them.
select distinct key from (
    select key from order_worker.pending where queue = 'inbox' and state <> 'ready' and key = any($1)
    union all
    select key from order_worker.pending where queue = 'inbox' and lane = 0 and state = 'ready' and key in (select unnest($1))
    union all
    select f.order_id from order_worker.payment_facts f
    where f.order_id = any($1) and f.kind = 'confirmed'
      and exists (select from public.orders o where o.id = order_worker.order_key(f.order_id) and o.status <> 'cancelled')
    union all
    select subject from order_worker.incident_journal where subject = any($1) and resolved_at is null and kind <> 'paid_cancelled'
) about
