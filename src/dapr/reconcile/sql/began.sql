-- reconcile/began: the moment in which a look begins, and for how long somebody has wanted to look at the stream.
select clock_timestamp(), (select extract(epoch from clock_timestamp() - since) from order_worker.stream_cursors where stream = $1)::float8
