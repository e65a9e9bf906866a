-- orders/lock: every writer locks the order first, orders in id order. An order that somebody else has locked is passed over:
-- what concerns it waits, nothing else does. `locked` is false for an order that exists and could not be locked. `given` is the text
-- that it was asked for by; `id` is its own.
with mine as materialized (
    select id, status, payment_method, delivered, currency, total_amount, created_at
    from public.orders where id = any(order_worker.order_keys($1)) order by id for no key update skip locked
)
select g.given, o.id::text as id, m.id is not null as locked, m.status, m.payment_method, m.delivered, m.currency, m.total_amount,
       order_worker.finite(m.created_at) as created_at
from unnest($1::text[]) g (given)
cross join lateral (select id from public.orders where id = order_worker.order_key(g.given) offset 0) o
left join mine m using (id)
