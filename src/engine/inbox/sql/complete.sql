-- inbox/complete: gives an event that came without data the body that it was published with. True: it has it now; false: it came
-- without data, and somebody has decided about it; null: it came with another body.
select order_worker.complete_event($1, $2, $3, $4, $5, $6, $7)
