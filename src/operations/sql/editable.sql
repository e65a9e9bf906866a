-- operations/editable: the row that is to get another body, ours until the transaction ends.
select p.queue, p.state, p.key, coalesce(i.topic, o.topic) as topic, o.subject as order_id, o.body
from order_worker.pending p
left join order_worker.inbox i on p.queue = 'inbox' and i.day = p.day and i.id = p.id
left join order_worker.outbox o on p.queue in ('dapr', 'warehouse') and o.day = p.day and o.id = p.id
where p.id = $1
for update of p
