-- reconcile/wanted: somebody wants to look at these streams.
insert into order_worker.stream_cursors (stream) select * from unnest($1::text[]) on conflict do nothing
