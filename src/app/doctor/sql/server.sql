-- doctor/server: what the server is, and how it keeps its promises.
select current_setting('server_version_num')::integer as version, current_setting('server_version') as version_name,
       current_setting('fsync') as fsync, current_setting('synchronous_commit') as synchronous_commit,
       current_setting('max_connections')::integer as max_connections, pg_is_in_recovery() as standby,
       current_setting('transaction_read_only')::boolean as read_only,
       clock_timestamp() as now,
       (select rolsuper from pg_roles where rolname = current_user) as superuser, current_user::text as role,
       coalesce((select extract(epoch from clock_timestamp() - min(xact_start)) from pg_stat_activity
                 where datname = current_database() and pid <> pg_backend_pid()), 0)::float8 as oldest_transaction
