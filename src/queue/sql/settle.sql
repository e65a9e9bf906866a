-- queue/settle: rows that are done. Deleting is harmless from anyone; only who deletes writes the outcome. Rows that were blocked
-- behind them go on. At the warehouse the item learns the answer, unless its intent has changed meanwhile.
with done as (
    delete from order_worker.pending where id = any($2)
    returning id, day, key, attempts, ($3::text[])[array_position($2, id)] as outcome, ($4::text[])[array_position($2, id)] as reason
), outcome as (
    insert into order_worker.outbox_outcomes (day, id, outcome, attempts, reason)
    select day, id, outcome, attempts + 1, reason from done
    on conflict do nothing
), answer as materialized (
    select d.outcome, d.reason, b.topic = 'ConfirmReservation' as confirms, b.order_id, b.cause,
           (b.body ->> 'order_item_id')::bigint as item_id, b.body ->> 'reservation_id' as reservation_id
    from done d
    cross join lateral (select * from order_worker.outbox o where o.day = d.day and o.id = d.id offset 0) b
    where $1 = 'warehouse'
), answered as (
    update public.order_items i
    set reservation_status = case when a.outcome = 'refused' then 'refused' when a.confirms then 'confirmed' else 'released' end
    from answer a
    where i.id = any(array(select item_id from answer)) and i.id = a.item_id
      and i.reservation_status = case when a.confirms then 'confirming' else 'releasing' end
), incident as (
    insert into order_worker.incident_journal (kind, order_id, cause, detail)
    select 'paid_unreserved', order_id, cause, format('the warehouse refused to confirm reservation %s: %s', reservation_id, reason)
    from answer where outcome = 'refused' and confirms
    on conflict do nothing
)
update order_worker.pending set state = 'ready'
where id = any(array(
    select b.id
    from done d
    cross join lateral (select id from order_worker.pending where queue = $1 and key = d.key and state = 'blocked' offset 0) b))
