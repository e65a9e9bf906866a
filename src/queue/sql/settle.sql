-- queue/settle: rows that are done. Deleting is harmless from anyone; only who deletes writes the outcome. Rows that were blocked
-- behind them go on. At the warehouse the item learns the answer, unless its intent has changed meanwhile.
with result as (
    select * from unnest($2::bigint[], $3::text[], $4::text[]) as t (id, outcome, reason)
), done as (
    delete from order_worker.pending p using result r where p.queue = $1 and p.id = r.id
    returning p.id, p.day, p.key, p.attempts, r.outcome, r.reason
), outcome as (
    insert into order_worker.outbox_outcomes (day, id, outcome, attempts, reason)
    select day, id, outcome, attempts + 1, reason from done
    on conflict do nothing
), answered as (
    update public.order_items i
    set reservation_status = case when d.outcome = 'refused' then 'refused' when b.topic = 'ConfirmReservation' then 'confirmed' else 'released' end
    from done d
    cross join lateral (select * from order_worker.outbox o where o.day = d.day and o.id = d.id offset 0) b
    where $1 = 'warehouse' and i.id = (b.body ->> 'order_item_id')::bigint
      and i.reservation_status = case when b.topic = 'ConfirmReservation' then 'confirming' else 'releasing' end
), incident as (
    insert into order_worker.incident_journal (kind, order_id, cause, detail)
    select 'paid_unreserved', b.order_id, b.cause,
           format('the warehouse refused to confirm reservation %s: %s', b.body ->> 'reservation_id', d.reason)
    from done d
    cross join lateral (select * from order_worker.outbox o where o.day = d.day and o.id = d.id offset 0) b
    where $1 = 'warehouse' and d.outcome = 'refused' and b.topic = 'ConfirmReservation'
    on conflict do nothing
)
update order_worker.pending p set state = 'ready'
where p.queue = $1 and p.state = 'blocked' and p.key in (select key from done)
