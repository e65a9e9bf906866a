-- doctor/rights: tables that the worker's role may not use as it has to.
select missing from (
    values ('order_worker.pending', 'delete'), ('order_worker.inbox', 'insert'), ('order_worker.inbox_keys', 'update'),
           ('order_worker.outbox', 'insert'), ('order_worker.workers', 'delete'), ('order_worker.lanes', 'update'),
           ('order_worker.cron_runs', 'update'), ('order_worker.incident_journal', 'insert'), ('public.orders', 'update'),
           ('public.order_items', 'update'), ('public.order_status_history', 'insert'), ('public.sessions', 'delete'),
           ('public.carts', 'delete')
) needed (relation, privilege)
cross join lateral (select format('%s on %s', privilege, relation) as missing) m
where not has_table_privilege(relation, privilege)
