-- reconcile/seen: of these keys, those that the inbox has.
select key from order_worker.inbox_keys where key = any($1)
