-- queue/register: a worker says that it is there. Its name is new each time.
insert into order_worker.workers (queue, worker, lease_until) values ($1, $2, clock_timestamp() + $3::float8 * interval '1 second')
