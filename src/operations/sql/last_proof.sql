-- operations/last_proof: what the last conservation proof found, and how many seconds ago it was made.
select violations::bigint, extract(epoch from clock_timestamp() - made_at)::float8
from order_worker.proofs order by made_at desc limit 1
