-- runs/wait: the run's next batch is made $2 seconds later, by whomever; nothing was done yet.
update order_worker.pending set due = clock_timestamp() + $2::float8 * interval '1 second' where id = $1
