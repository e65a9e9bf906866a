-- schema/index: whether a table of schema public has an index whose first column is $2, or an expression over it (null: it is a view);
-- and whether it is partitioned.
select case when c.relkind <> 'v' then exists (
    select from pg_index i
    where i.indrelid = c.oid and i.indisvalid
      and pg_get_indexdef(i.indexrelid, 1, true) ~ ('\m' || $2 || '\M')) end as present,
    c.relkind = 'p' as partitioned
from pg_class c where c.oid = to_regclass('public.' || $1)
