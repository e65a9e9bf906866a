-- queue/settle: rows that are done, of the editions that were in hand: one that is sent again meanwhile, or was edited, stays. Deleting
-- is harmless from anyone; only who deletes writes the outcome. Rows that were blocked behind them go on; returns whether there were any.
-- At the warehouse all items of the order that share the reservation learn the answer, unless their intent has changed meanwhile, and
-- what was refused is an incident.
with done as (
    delete from order_worker.pending p where p.id = any($2) and p.edition = ($5::bigint[])[array_position($2, p.id)]
    returning id, day, key, attempts, ($3::text[])[array_position($2, id)] as outcome, ($4::text[])[array_position($2, id)] as reason
), outcome as (
    insert into order_worker.outbox_outcomes (day, id, outcome, attempts, reason)
    select day, id, outcome, attempts + 1, reason from done
    on conflict do nothing
), answer as materialized (
    select d.id, d.outcome, d.reason, b.topic = 'ConfirmReservation' as confirms, b.subject as order_id, b.cause,
           b.body ->> 'reservation_id' as reservation_id
    from done d
    cross join lateral (select * from order_worker.outbox o where o.day = d.day and o.id = d.id offset 0) b
    where $1 = 'warehouse' and d.outcome in ('sent', 'refused')
), answered as (
    update public.order_items i
    set reservation_status = case when a.outcome = 'refused' then 'refused' when a.confirms then 'confirmed' else 'released' end
    from answer a
    where i.order_id = any(order_worker.order_keys(array(select order_id from answer)))
      and i.order_id = order_worker.order_key(a.order_id) and i.reservation_id = a.reservation_id
      and i.reservation_status = case when a.confirms then 'confirming' else 'releasing' end
), incident as (
    insert into order_worker.incident_journal (kind, subject, cause, reference, detail)
    select case when confirms then 'paid_unreserved' else 'not_released' end, order_id, cause, reservation_id,
           format('the warehouse refused to %s reservation %s: %s', case when confirms then 'confirm' else 'release' end,
                  reservation_id, reason)
    from answer where outcome = 'refused'
    on conflict do nothing
), unblocked as (
    update order_worker.pending set state = 'ready'
    where id = any(array(
        select b.id
        from done d
        cross join lateral (select id from order_worker.pending where queue = $1 and key = d.key and state = 'blocked' offset 0) b))
    returning id
)
select exists (select from unblocked) as again
