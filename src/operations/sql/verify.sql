-- operations/verify: records that were changed, and places where some are missing. The numbers rise by one.
select id, case when hash <> computed then 'its hash is not that of its content: it was changed'
                when id <> coalesce(before_id, 0) + 1 then format('records %s to %s are missing', coalesce(before_id, 0) + 1, id - 1)
                else 'it does not carry the hash of the record before it' end as wrong
from (
    select l.id, l.hash, order_worker.audit_hash(l) as computed, l.previous, lag(l.hash) over (order by l.id) as before,
           lag(l.id) over (order by l.id) as before_id
    from order_worker.audit_log l
) c
where hash <> computed or previous <> coalesce(before, decode(repeat('00', 32), 'hex')) or id <> coalesce(before_id, 0) + 1
order by id
