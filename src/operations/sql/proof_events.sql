-- operations/proof_events: events of a day without an end, or with two.
select i.id::text as subject,
       case when o.id is null then 'it is neither pending nor settled: it is lost'
            else format('it is settled as %s and pending (%s) at the same time', o.outcome, p.state) end as detail
from order_worker.inbox i
left join order_worker.inbox_outcomes o on o.day = i.day and o.id = i.id
left join order_worker.pending p on p.id = i.id and p.queue = 'inbox'
where i.day = $1 and (o.id is null) = (p.id is null)
