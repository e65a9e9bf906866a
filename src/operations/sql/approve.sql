-- operations/approve: events that waited for an operator are handled, whatever their amount.
update order_worker.pending set state = 'ready', approved = true, due = clock_timestamp()
where queue = 'inbox' and state = $1 and id = any($2)
returning id
