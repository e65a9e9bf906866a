-- egress/obsolete: of calls that are about to be made, those that no item of their reservation wants any more and one contradicts. An
-- item that is not there, or was never asked about, contradicts nothing.
select c.id, format('its item is %s by now', min(i.reservation_status))
from unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[]) as c (id, order_id, reservation_id, confirms)
cross join lateral (
    select reservation_status from public.order_items i
    where i.order_id = order_worker.order_key(c.order_id) and i.reservation_id = c.reservation_id offset 0) i
group by c.id, c.confirms
having not bool_or(coalesce(i.reservation_status, 'reserved') = case when c.confirms then 'confirming' else 'releasing' end)
   and bool_or(i.reservation_status = any(case when c.confirms then array['releasing', 'released'] else array['confirming', 'confirmed'] end))
