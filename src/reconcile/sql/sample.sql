-- reconcile/sample: how old the watermark is, and how many streams have something wrong.
select extract(epoch from clock_timestamp() - min(watermark))::float8 as age, count(*) filter (where alert is not null) as alerts
from order_worker.stream_cursors
