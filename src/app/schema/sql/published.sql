-- schema/published: shared tables whose changes are published and whose rows nothing identifies: Postgres refuses to change or delete them.
select c.relname::text as table_name, string_agg(p.pubname::text, ', ' order by p.pubname) as publications
from pg_class c
join pg_publication_tables t on t.schemaname = 'public' and t.tablename = c.relname
join pg_publication p on p.pubname = t.pubname and (p.pubdelete or p.pubupdate)
where c.relnamespace = to_regnamespace('public') and c.relname in ('orders', 'order_items', 'sessions', 'carts', 'cart_items')
  and (c.relreplident = 'n'
       or (c.relreplident = 'd' and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary))
       or (c.relreplident = 'i' and not exists (select from pg_index i where i.indrelid = c.oid and i.indisreplident)))
group by c.relname
order by c.relname
