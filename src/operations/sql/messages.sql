-- operations/messages: announcements and calls of the outbox, the newest first, with what waits behind them.
select s.id, s.day, s.event_id, s.channel, s.topic, s.order_id, s.state, s.attempts, s.reason, s.cause, s.created_at, s.sent_at,
       s.waits, s.due,
       (select count(*) from order_worker.pending p
        join order_worker.pending b on b.queue = p.queue and b.key = p.key and b.state = 'blocked' and b.id > p.id
        where p.id = s.id and p.queue = s.channel and p.state <> 'ready') as behind
from order_worker.outbox_status s
where ($1::timestamptz is null or (s.created_at >= $1 and s.day >= ($1 at time zone 'utc')::date - 1))
  and ($2::timestamptz is null or (s.created_at < $2 and s.day <= ($2 at time zone 'utc')::date))
  and ($3::text is null or s.order_id = order_worker.subject_text($3)) and ($4::text is null or s.topic = $4) and ($5::text is null or s.channel = $5)
  and ($6::text is null or s.state = $6 or s.waits = $6)
order by s.day desc, s.id desc
limit $7
