-- operations/proof_messages: messages of a day without an end. (One that is sent again has its outcome and is pending.)
select o.id::text as subject, format('%s of order %s is neither pending nor settled: it is lost', o.topic, o.subject) as detail
from order_worker.outbox o
left join order_worker.outbox_outcomes d on d.day = o.day and d.id = o.id
left join order_worker.pending p on p.id = o.id and p.queue = o.channel
where o.day = $1 and d.id is null and p.id is null
