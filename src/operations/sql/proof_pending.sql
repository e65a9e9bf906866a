-- operations/proof_pending: rows of a day that are to be done and have no body.
select p.id::text as subject, format('the row of queue %s, key %s, has no body', p.queue, p.key) as detail
from order_worker.pending p
where p.day = $1
  and case p.queue
      when 'inbox' then not exists (select from order_worker.inbox i where i.day = p.day and i.id = p.id)
      when 'cron' then not exists (select from order_worker.cron_runs r where r.id = p.id and r.finished_at is null)
      else not exists (select from order_worker.outbox o where o.day = p.day and o.id = p.id and o.channel = p.queue) end
