-- operations/proof_days: the days that the journals, the history or the queue know.
select day from (
    select distinct day from order_worker.inbox_outcomes union select distinct day from order_worker.inbox
    union select distinct day from order_worker.outbox union select distinct day from order_worker.pending
) days
where $1::date is null or day >= $1
order by day
