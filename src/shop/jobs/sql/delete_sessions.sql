-- jobs/delete_sessions: the sessions that this transaction has locked. Returns those that are gone: a trigger may keep one.
delete from public.sessions where id = any(order_worker.session_keys($1)) returning id::text
