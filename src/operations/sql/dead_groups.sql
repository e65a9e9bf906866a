-- operations/dead_groups: dead rows by queue and reason; what differs from one to the next (numbers, ids) stands as #.
select p.queue, regexp_replace(p.last_error, '[[:xdigit:]-]*\d[[:xdigit:]-]*', '#', 'g') as reason, count(*) as rows,
       min(p.created_at) as first, max(p.created_at) as last, min(p.id) as example
from order_worker.pending p
where p.state = 'dead'
group by 1, 2
order by rows desc, first
