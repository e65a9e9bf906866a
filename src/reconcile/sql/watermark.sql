-- reconcile/watermark: everything that was published before it is in the inbox; null: nobody has looked yet.
select min(watermark) from order_worker.stream_cursors
