-- runs/reset: a next tick that no clock can have written that was right ($2) becomes the first tick without a run ($3).
update order_worker.cron_jobs set next_tick = $3 where job = $1 and next_tick = $2
