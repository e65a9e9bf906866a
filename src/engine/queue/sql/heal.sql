-- queue/heal: rows that are blocked behind nothing any more (their head was settled in the moment in which they were blocked).
update order_worker.pending b set state = 'ready'
where b.queue = $1 and b.state = 'blocked'
  and not exists (
      select from order_worker.pending head
      where head.queue = b.queue and head.key = b.key and head.id < b.id
        and (head.state = 'waiting' or (head.state = 'dead' and $2)))
