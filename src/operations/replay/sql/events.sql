-- replay/events: the next events of a selection, behind a cursor and without their bodies. $10 and $11: the share of them (of 10,000,
-- by their keys) that comes from $10 up to $11.
select i.id, i.day, encode(i.key, 'hex') as cause, i.topic, i.event_id, i.subject as order_id, o.outcome, p.state
from order_worker.inbox i
left join order_worker.inbox_outcomes o on o.day = i.day and o.id = i.id
left join order_worker.pending p on p.id = i.id and p.queue = 'inbox'
where i.day >= $1::date and (i.day, i.id) > ($1::date, $2::bigint)
  and i.received_at >= $3::timestamptz and i.received_at < $4::timestamptz and i.day <= ($4 at time zone 'utc')::date
  and ($5::text is null or i.subject = order_worker.subject_text($5)) and ($6::text is null or i.reference = $6) and ($7::text is null or i.event_id = $7)
  and ($8::text is null or i.topic = $8)
  and ($9::text is null
       or coalesce(o.outcome, case when p.state in ('held', 'dead', 'quarantined') then p.state else 'pending' end) = $9)
  and (get_byte(i.key, 0) * 256 + get_byte(i.key, 1)) * 10000 / 65536 between $10::integer and $11::integer - 1
  and ($12::text is null or position($12 in coalesce(o.reason, p.last_error)) > 0)
order by i.day, i.id
limit $13
