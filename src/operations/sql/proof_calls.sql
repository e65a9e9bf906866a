-- operations/proof_calls: Confirms of a day that were made after a Release of the same reservation. What one statement has settled was
-- sent in the order of the ids.
select c.id::text as subject, format('reservation %s of order %s was confirmed after it was released (%s)', c.body ->> 'reservation_id', c.subject, r.id) as detail
from order_worker.outbox c
join order_worker.outbox_outcomes confirmed on confirmed.day = c.day and confirmed.id = c.id and confirmed.outcome = 'sent'
join order_worker.outbox r on r.subject = c.subject and r.channel = 'warehouse' and r.topic = 'ReleaseReservation'
    and r.body ->> 'reservation_id' = c.body ->> 'reservation_id'
join order_worker.outbox_outcomes released on released.day = r.day and released.id = r.id and released.outcome = 'sent'
where c.day = $1 and c.channel = 'warehouse' and c.topic = 'ConfirmReservation'
  and confirmed.settled_at > released.settled_at and (confirmed.xmin <> released.xmin or c.id > r.id)
