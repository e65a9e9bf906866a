-- operations/proof_items: items that wait for the answer to a call of a day that is settled, and nothing about their reservation is pending.
select i.order_id::text as subject, format('item %s is %s, and the call of its reservation %s is settled', i.id, i.reservation_status, i.reservation_id) as detail
from order_worker.outbox o
join order_worker.outbox_outcomes d on d.day = o.day and d.id = o.id
join public.order_items i on i.order_id = order_worker.order_key(o.subject) and i.reservation_id = o.body ->> 'reservation_id'
    and i.reservation_status = case o.topic when 'ConfirmReservation' then 'confirming' else 'releasing' end
where o.day = $1 and o.channel = 'warehouse'
  and not exists (select from order_worker.pending p where p.queue = 'warehouse' and p.key = i.reservation_id)
