-- queue/register: a worker says that it is there, and from which queues it takes rows. Its name is new each time.
insert into order_worker.workers (queue, worker, lease_until, drains)
values ($1, $2, clock_timestamp() + $3::float8 * interval '1 second', $4)
