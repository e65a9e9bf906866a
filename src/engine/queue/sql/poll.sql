-- queue/poll: makes waiting rows ready that are due, and tells which queues have something to do, and whether some of it was there
-- before: a tick that is due is something too. One statement for all queues. No row waits for more than minutes: a
-- due time more than an hour ahead was written under a clock that was ahead.
with due as (
    select queue, id from order_worker.pending
    where state = 'waiting' and queue = any($1)
      and (due <= clock_timestamp() or due > clock_timestamp() + interval '1 hour')
    order by queue, due limit 2000
    for update skip locked
), promoted as (
    update order_worker.pending set state = 'ready' where id = any(array(select id from due)) returning queue
)
select q.queue, exists (select from promoted where promoted.queue = q.queue) as again from unnest($1::text[]) q (queue)
where exists (select from promoted where promoted.queue = q.queue)
   or exists (select from order_worker.pending p where p.queue = q.queue and p.state = 'ready')
   or (q.queue = 'cron' and exists (
       select from order_worker.cron_jobs j
       where j.next_tick <= clock_timestamp() and not order_worker.is_paused('cron', j.job)))
