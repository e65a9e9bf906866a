-- terms/registered: by what the last started worker of a kind judges.
select terms, worker, version, registered_at from order_worker.worker_terms where kind = $1
