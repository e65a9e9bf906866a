-- cron/waiting: of these orders, those about which something waits in the inbox, in whatever state: a clock must not win against
-- a payment that is here already.
select distinct key from (
    select key from order_worker.pending where queue = 'inbox' and state <> 'ready' and key = any($1)
    union all
    select key from order_worker.pending where queue = 'inbox' and lane = 0 and state = 'ready' and key in (select unnest($1))
) about
