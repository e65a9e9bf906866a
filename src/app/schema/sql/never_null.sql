-- schema/never_null: columns of the history that the worker leaves empty where there is nothing to say, and that are declared NOT NULL.
select attname::text from pg_attribute
where attrelid = to_regclass('public.order_status_history') and attname in ('old_status', 'reason', 'notes') and attnotnull
order by attnum
