-- reconcile/turn: one takes what is missing at a time, until its transaction ends.
select pg_advisory_xact_lock(hashtext('order_worker.reconcile'))
