-- reconcile/watermark: everything that was published to these streams before it is in the inbox; null: nobody has looked at any yet. Of
-- one that was never found well nothing is known, however far the others are.
select case when count(watermark) = cardinality($1::text[]) then min(watermark)
            when count(*) > 0 then to_timestamp(0) end
from order_worker.stream_cursors where stream = any($1)
