-- jobs/delete_carts: the carts that this transaction has locked; their items go with them (on delete cascade). Returns those that are
-- gone: a trigger may keep one.
delete from public.carts where id = any(order_worker.cart_keys($1)) returning id::text
