-- inbox/lock_orders: every writer locks the order first, orders in id order. An order that somebody else has locked is passed
-- over: its events wait, nobody else's do. `locked` is false for an order that exists and could not be locked.
with mine as materialized (
    select id, status, currency, total_amount from public.orders where id = any($1) order by id for no key update skip locked
)
select o.id, m.id is not null as locked, m.status, m.currency, m.total_amount
from (select id from public.orders where id = any($1)) o
left join mine m using (id)
