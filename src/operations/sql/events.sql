-- operations/events: events of the inbox, the newest first.
select id, day, topic, source, event_id, order_id, payment_id, outcome, reason, received_at, settled_at, duplicates
from order_worker.inbox_status
where ($1::timestamptz is null or (received_at >= $1 and day >= ($1 at time zone 'utc')::date - 1))
  and ($2::timestamptz is null or (received_at < $2 and day <= ($2 at time zone 'utc')::date))
  and ($3::text is null or order_id = order_worker.subject_text($3)) and ($4::text is null or payment_id = $4) and ($5::text is null or event_id = $5)
  and ($6::text is null or topic = $6) and ($7::text is null or outcome = $7)
  and ($8::text is null or position($8 in reason) > 0)
order by day desc, id desc
limit $9
