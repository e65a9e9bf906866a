-- operations/proof_days: the days that the journals, the history or the queue know, of those whose rows are kept: an older row that is
-- not finished stays alone, and says nothing of its day.
select day from (
    select distinct day from order_worker.inbox_outcomes union select distinct day from order_worker.inbox
    union select distinct day from order_worker.outbox union select distinct day from order_worker.pending
) days
where ($1::date is null or day >= $1) and day >= order_worker.first_day()
order by day
