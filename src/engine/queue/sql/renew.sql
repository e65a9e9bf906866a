-- queue/renew: by the database's clock; an expired lease is never renewed, for its lanes may have another owner by now.
update order_worker.workers set lease_until = clock_timestamp() + $3::float8 * interval '1 second'
where queue = $1 and worker = $2 and lease_until > clock_timestamp()
