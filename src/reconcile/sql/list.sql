-- reconcile/list: the streams as they were at the last look.
select stream, last_id, watermark, read_at, alert, saved from order_worker.stream_cursors order by stream
