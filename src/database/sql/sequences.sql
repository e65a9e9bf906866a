-- database/sequences: the sequences behind the defaults of the shared table that the worker adds rows to; an adopted table may
-- have a serial id, whose sequence asks for a right of its own (an identity does not).
select distinct s.oid::regclass::text
from pg_attrdef d
join pg_depend p on p.classid = 'pg_attrdef'::regclass and p.objid = d.oid and p.refclassid = 'pg_class'::regclass
join pg_class s on s.oid = p.refobjid and s.relkind = 'S'
where d.adrelid = 'public.order_status_history'::regclass
