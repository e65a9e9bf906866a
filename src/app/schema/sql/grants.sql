-- schema/grants: the least rights of the runtime role. It may add to a journal and read it; it may not change or delete what was
-- written there, and it owns nothing. Run at each migrate; granting again changes nothing.
grant usage on schema order_worker, public to :role;

grant select, update on public.orders to :role;
grant select, update on public.order_items to :role;
grant select, insert on public.order_status_history to :role;
-- Update: the lock on what is to be deleted.
grant select, update, delete on public.sessions, public.carts to :role;

grant select, insert on order_worker.inbox, order_worker.inbox_outcomes, order_worker.outbox, order_worker.outbox_outcomes to :role;
grant select, insert, update on order_worker.inbox_keys, order_worker.outbox_keys to :role;
grant select, insert, update, delete on order_worker.pending, order_worker.workers to :role;
grant select, update on order_worker.lanes to :role;
grant select, insert on order_worker.exposures, order_worker.payment_facts, order_worker.refund_facts to :role;
grant select on order_worker.incident_kinds to :role;
grant select, insert, update on order_worker.incident_journal to :role;
grant select, insert, update on order_worker.returns to :role;
grant select on order_worker.legal_moves, order_worker.legal_return_moves, order_worker.schema_support, order_worker._sqlx_migrations to :role;
grant select, insert, update, delete on order_worker.cron_jobs, order_worker.cron_runs, order_worker.pauses to :role;
grant select on order_worker.audit_log, order_worker.edits, order_worker.replaced_outcomes to :role;
grant select, insert on order_worker.replayed, order_worker.selected, order_worker.proofs, order_worker.decisions to :role;
grant select, insert, update on order_worker.stream_cursors to :role;
grant select, insert, update on order_worker.worker_terms to :role;
grant select on order_worker.inbox_status, order_worker.outbox_status, order_worker.incidents, order_worker.shared_ids to :role;
grant usage on all sequences in schema order_worker to :role;
grant execute on all functions in schema order_worker to :role;
