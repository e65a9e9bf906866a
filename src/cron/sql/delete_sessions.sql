-- cron/delete_sessions: the sessions that this transaction has locked.
delete from public.sessions where id = any(order_worker.session_keys($1))
