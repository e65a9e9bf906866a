-- warehouse/obsolete: of calls that are about to be made, those that no item of their reservation wants any more and one contradicts. An
-- item that is not there, or was never asked about, contradicts nothing. A call that was tried may have been heard ($5, or by its row):
-- it is made until it is answered, before the one that contradicts it, unless that was tried or answered already.
select c.id, format('its item is %s by now', min(i.reservation_status))
from unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[], $5::boolean[]) as c (id, order_id, reservation_id, confirms, in_doubt)
join order_worker.pending p on p.id = c.id
cross join lateral (
    select reservation_status from public.order_items i
    where i.order_id = order_worker.order_key(c.order_id) and i.reservation_id = c.reservation_id offset 0) i
group by c.id, c.confirms, c.in_doubt, c.reservation_id, p.id
having not bool_or(coalesce(i.reservation_status, 'reserved') = case when c.confirms then 'confirming' else 'releasing' end)
   and bool_or(i.reservation_status = any(case when c.confirms then array['releasing', 'released'] else array['confirming', 'confirmed'] end))
   and (not (c.in_doubt or p.attempts > 0 or p.exposed > 0 or p.last_error is not null)
        or bool_or(i.reservation_status in ('released', 'confirmed'))
        or exists (select from order_worker.pending later
                   where later.queue = 'warehouse' and later.key = c.reservation_id and later.id > c.id
                     and (later.attempts > 0 or later.exposed > 0 or later.last_error is not null)))
