-- schema/misfits: shared tables whose ids have another type than the functions that look for them.
select format('%s.id is %s, and what looks for it was made for %s', relation, type, coalesce(made_for, 'none'))
from order_worker.shared_ids
where type is distinct from made_for and type is not null
order by relation
