-- jobs/waiting: of these orders, those about which something speaks: an event in the inbox, in whatever state; a payment that was
-- confirmed, whatever became of the order's status since; an incident that nobody has resolved. A clock must not win against any of them.
-- What protects is lenient: an event that names its order with blanks around it, a sign or zeros before it may mean this one.
select distinct key from (
    select key from order_worker.pending where queue = 'inbox' and state <> 'ready' and key = any($1)
    union all
    select key from order_worker.pending where queue = 'inbox' and lane = 0 and state = 'ready' and key in (select unnest($1))
    union all
    select meant.id
    from order_worker.pending p
    cross join lateral (
        select order_worker.subject_text(regexp_replace(p.key, '^\s*(?:\+?0*(?=\d+\s*$))?(.*?)\s*$', '\1')) as id offset 0) meant
    where p.queue = 'inbox' and p.key ~ '^\s|\s$|^\+?0\d|^\+\d' and meant.id = any($1)
    union all
    select f.order_id from order_worker.payment_facts f
    where f.order_id = any($1) and f.kind = 'confirmed'
      and exists (select from public.orders o where o.id = order_worker.order_key(f.order_id) and o.status <> 'cancelled')
    union all
    select subject from order_worker.incident_journal where subject = any($1) and resolved_at is null and kind <> 'paid_cancelled'
) about
