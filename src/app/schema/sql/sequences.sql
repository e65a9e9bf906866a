-- schema/sequences: the sequences of the shared table that the worker adds rows to, or of the tables behind it where it is a view. A
-- serial id asks for a right on its sequence of its own; an identity does not, but to see whether a restore has left it behind.
select distinct s.oid::regclass::text
from (
    select 'public.order_status_history'::regclass::oid as id
    union
    select behind.refobjid
    from pg_rewrite r
    join pg_depend behind on behind.classid = 'pg_rewrite'::regclass and behind.objid = r.oid and behind.refclassid = 'pg_class'::regclass
    where r.ev_class = 'public.order_status_history'::regclass
) written
join lateral (
    select p.refobjid as id
    from pg_attrdef d
    join pg_depend p on p.classid = 'pg_attrdef'::regclass and p.objid = d.oid and p.refclassid = 'pg_class'::regclass
    where d.adrelid = written.id
    union
    select i.objid from pg_depend i
    where i.classid = 'pg_class'::regclass and i.refclassid = 'pg_class'::regclass and i.refobjid = written.id and i.deptype = 'i'
) used on true
join pg_class s on s.oid = used.id and s.relkind = 'S'
