-- terms/register: by what a worker judges that starts now; the last one stands.
insert into order_worker.worker_terms (kind, terms, worker, version) values ($1, $2, $3, $4)
on conflict (kind) do update
set terms = excluded.terms, worker = excluded.worker, version = excluded.version, registered_at = clock_timestamp()
