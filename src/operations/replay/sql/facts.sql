-- replay/facts: what these events themselves have told of payments: judged again, an event is not a repetition of itself.
select cause, payment_id, kind from order_worker.payment_facts where order_id = any($1) and cause = any($2)
union all
select cause, refund_id, 'refunded' from order_worker.refund_facts where order_id = any($1) and cause = any($2)
