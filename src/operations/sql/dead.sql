-- operations/dead: dead rows, the oldest first; with $6 messages too that are not sent, whatever they wait for.
select p.queue, p.id, p.state, coalesce(i.topic, o.topic) as topic, coalesce(i.event_id, o.event_id::text) as event_id,
       coalesce(i.subject, o.subject) as order_id, p.attempts, p.last_error as reason, p.created_at,
       (select count(*) from order_worker.pending b
        where p.queue in ('dapr', 'warehouse') and b.queue = p.queue and b.key = p.key and b.state = 'blocked' and b.id > p.id) as parked
from order_worker.pending p
left join order_worker.inbox i on p.queue = 'inbox' and i.day = p.day and i.id = p.id
left join order_worker.outbox o on p.queue in ('dapr', 'warehouse') and o.day = p.day and o.id = p.id
where (p.state = 'dead' or ($6 and p.queue in ('dapr', 'warehouse')))
  and ($1::text is null or p.queue = $1) and ($2::text is null or p.key in ($2, order_worker.subject_text($2)) or o.subject = order_worker.subject_text($2))
  and ($3::text is null or position($3 in p.last_error) > 0) and (cardinality($4::bigint[]) = 0 or p.id = any($4))
order by p.id
limit $5
