-- database/sequences: the sequences behind the defaults of the shared table that the worker adds rows to, or of the tables behind it where
-- it is a view; an adopted table may have a serial id, whose sequence asks for a right of its own (an identity does not).
select distinct s.oid::regclass::text
from (
    select 'public.order_status_history'::regclass::oid as id
    union
    select behind.refobjid
    from pg_rewrite r
    join pg_depend behind on behind.classid = 'pg_rewrite'::regclass and behind.objid = r.oid and behind.refclassid = 'pg_class'::regclass
    where r.ev_class = 'public.order_status_history'::regclass
) written
join pg_attrdef d on d.adrelid = written.id
join pg_depend p on p.classid = 'pg_attrdef'::regclass and p.objid = d.oid and p.refclassid = 'pg_class'::regclass
join pg_class s on s.oid = p.refobjid and s.relkind = 'S'
