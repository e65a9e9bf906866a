-- operations/redrive: rows are tried again, from their first attempt on: dead ones, and with $2 messages that wait for their next one.
update order_worker.pending
set state = 'ready', attempts = 0, due = clock_timestamp(), edition = nextval('order_worker.journal_id')
where id = any($1) and (state = 'dead' or ($2 and state = 'waiting' and queue in ('dapr', 'warehouse')))
returning queue
