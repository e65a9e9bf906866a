-- operations/redrive: dead rows are tried again, from their first attempt on.
update order_worker.pending
set state = 'ready', attempts = 0, due = clock_timestamp()
where id = any($1) and state = 'dead'
returning queue
