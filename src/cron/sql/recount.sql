-- cron/recount: a next tick that was counted under a clock that was ahead is counted again, as long as it stands as it was read.
update order_worker.cron_jobs set next_tick = $3, counted_at = clock_timestamp() where job = $1 and next_tick = $2
