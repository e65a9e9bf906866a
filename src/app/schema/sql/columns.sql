-- schema/columns: the columns of what exists in schema public. From the catalog: information_schema hides what the role may not
-- read, and a table that it may not read exists all the same.
select c.relname::text as table_name, a.attname::text as name, format_type(a.atttypid, null) as kind,
       a.attnotnull and not a.atthasdef and a.attidentity = '' as required,
       c.relkind = 'v' as of_view, c.relkind <> 'v' or pg_column_is_updatable(c.oid, a.attnum, true) as writable
from pg_class c
join pg_attribute a on a.attrelid = c.oid
where c.relnamespace = to_regnamespace('public') and c.relkind in ('r', 'p', 'f', 'v', 'm')
  and a.attnum > 0 and not a.attisdropped
order by c.relname, a.attnum
