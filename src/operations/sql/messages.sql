-- operations/messages: announcements and calls of the outbox, the newest first.
select id, day, event_id, channel, topic, order_id, state, attempts, reason, cause, created_at, sent_at
from order_worker.outbox_status
where ($1::timestamptz is null or (created_at >= $1 and day >= ($1 at time zone 'utc')::date - 1))
  and ($2::timestamptz is null or (created_at < $2 and day <= ($2 at time zone 'utc')::date))
  and ($3::text is null or order_id = $3) and ($4::text is null or topic = $4) and ($5::text is null or channel = $5)
  and ($6::text is null or state = $6)
order by day desc, id desc
limit $7
