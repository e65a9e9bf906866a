-- operations/waiting: events that wait for an operator: held ones, and those whose id came before with another body.
select p.id, p.state, i.topic, i.source, i.event_id, i.subject as order_id, p.last_error as reason, i.received_at, i.body
from order_worker.pending p
join order_worker.inbox i on i.day = p.day and i.id = p.id
where p.queue = 'inbox' and p.state = $1
order by p.id
limit $2
