-- schema/policies: shared tables on which row-level security holds for the role $1, each with those of the worker's commands for which
-- no policy lets every row through, or for which one holds some back.
select c.relname::text as table_name, string_agg(needed.command, ', ' order by needed.command) as commands
from (values ('orders', 'select', 'r'), ('orders', 'update', 'w'), ('order_items', 'select', 'r'), ('order_items', 'update', 'w'),
             ('order_status_history', 'select', 'r'), ('order_status_history', 'insert', 'a'),
             ('sessions', 'select', 'r'), ('sessions', 'update', 'w'), ('sessions', 'delete', 'd'),
             ('carts', 'select', 'r'), ('carts', 'update', 'w'), ('carts', 'delete', 'd')) needed (table_name, command, letter)
join pg_class c on c.relnamespace = to_regnamespace('public') and c.relname = needed.table_name and c.relrowsecurity
join pg_roles r on r.rolname = $1 and not r.rolsuper and not r.rolbypassrls
cross join lateral (
    select coalesce(bool_or(p.polpermissive and whole.lets), false) and coalesce(bool_and(p.polpermissive or whole.lets), true) as all_rows
    from pg_policy p
    cross join lateral (
        select coalesce(pg_get_expr(p.polqual, p.polrelid), 'true') = 'true'
               and coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true' as lets) whole
    where p.polrelid = c.oid and p.polcmd::text in ('*', needed.letter)
      and exists (select from unnest(p.polroles) given where given = 0 or pg_has_role(r.oid, given, 'usage'))
) policies
where (c.relforcerowsecurity or not pg_has_role(r.oid, c.relowner, 'usage')) and not policies.all_rows
group by c.relname
order by c.relname
