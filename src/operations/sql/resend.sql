-- operations/resend: announcements that were sent become pending again, under their first ids; at most $5, the oldest first, behind
-- ($6, $7); or the one with the number $8. What is pending stays as it is.
with chosen as materialized (
    select o.day, o.id, o.subject as order_id
    from order_worker.outbox o
    join order_worker.outbox_outcomes d on d.day = o.day and d.id = o.id and d.outcome = 'sent'
    where o.channel = 'dapr' and o.created_at >= $1 and o.day >= ($1 at time zone 'utc')::date - 1
      and o.created_at < $2 and o.day <= ($2 at time zone 'utc')::date
      and ($3::text is null or o.subject = $3) and ($4::text is null or o.topic = $4)
      and (o.day, o.id) > ($6::date, $7::bigint) and ($8::bigint is null or o.id = $8)
      and not exists (select from order_worker.pending p where p.id = o.id)
    order by o.day, o.id
    limit $5
), queued as (
    insert into order_worker.pending (queue, id, day, lane, key, edition)
    select 'dapr', id, day, order_worker.lane(order_id), order_id, nextval('order_worker.journal_id') from chosen
    on conflict do nothing
)
select day, id from chosen order by day, id
