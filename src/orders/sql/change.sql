-- orders/change: status, history and announcement, in one function for everybody (migrations/0003_shop.sql).
select order_worker.change_orders($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
