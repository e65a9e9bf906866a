-- operations/proof_causes: messages of a day whose cause looks like an event's or a job's, and is none. Keys and runs are kept longer
-- than messages.
select o.id::text as subject, format('its cause %s is not there', o.cause) as detail
from order_worker.outbox o
where o.day = $1
  and ((o.cause ~ '^[0-9a-f]{64}$' and not exists (select from order_worker.inbox_keys k where k.key = decode(o.cause, 'hex')))
    or (o.cause ~ '^cron:[a-z_]+:[0-9T:.-]+Z$' and not exists (
            select from order_worker.cron_runs r
            where r.job = split_part(o.cause, ':', 2) and r.tick = substr(o.cause, 7 + length(split_part(o.cause, ':', 2)))::timestamptz)))
