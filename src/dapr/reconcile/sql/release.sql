-- reconcile/release: a stream may be looked at again.
update order_worker.stream_cursors set claimed_until = '-infinity' where stream = $1
