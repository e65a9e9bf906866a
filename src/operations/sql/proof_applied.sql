-- operations/proof_applied: events of a day that were applied without an announcement of their own. The announcement's id follows
-- from the event's key and what it asked for. A refund asks for nothing: it is a fact.
select i.id::text as subject, format('it was applied to order %s, and no announcement has it for a cause', i.subject) as detail
from order_worker.inbox i
join order_worker.inbox_outcomes o on o.day = i.day and o.id = i.id and o.outcome = 'applied'
where i.day = $1
  and not exists (
      select from order_worker.outbox_keys k
      where k.event_id in (
          order_worker.event_id(encode(i.key, 'hex'), 'dapr', 'orders.order.status_changed', i.subject, 'payment_confirmed'),
          order_worker.event_id(encode(i.key, 'hex'), 'dapr', 'orders.order.status_changed', i.subject, 'payment_failed')))
  and not exists (select from order_worker.refund_facts r where r.order_id = i.subject and r.cause = encode(i.key, 'hex'))
