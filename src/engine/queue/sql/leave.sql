-- queue/leave: a regular end. Nothing was in hand, so nothing is exposed.
with gone as (
    delete from order_worker.workers where queue = $1 and worker = $2
)
update order_worker.lanes set owner = null where queue = $1 and owner = $2
