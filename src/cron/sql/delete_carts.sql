-- cron/delete_carts: the carts that this transaction has locked; their items go with them (on delete cascade).
delete from public.carts where id = any(order_worker.cart_keys($1))
