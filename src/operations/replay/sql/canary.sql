-- replay/canary: of the events that a replay has handed to the inbox, how many are under way, and how many are given up or held
-- again.
select count(*) filter (where p.state in ('ready', 'waiting')) as open, count(*) filter (where p.state in ('dead', 'held')) as failed
from order_worker.replayed r join order_worker.pending p on p.id = r.id
where r.run = $1
