-- reconcile/seen: of these keys, those that the inbox has. An event that waits for its data is not there yet, for whoever has it ($2).
select k.key
from order_worker.inbox_keys k
where k.key = any($1)
  and not (($2::boolean[])[array_position($1::bytea[], k.key)] and order_worker.waits_for_data(k))
