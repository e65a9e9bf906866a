-- database/index: whether a table of schema public has an index whose first column is $2, or an expression over it.
select exists (
    select from pg_index i
    where i.indrelid = to_regclass('public.' || $1) and i.indisvalid
      and pg_get_indexdef(i.indexrelid, 1, true) ~ ('\m' || $2 || '\M'))
