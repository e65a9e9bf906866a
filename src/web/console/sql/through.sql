-- console/through: rows that ever went into the journals, by the server's statistics: events accepted, events settled, messages sent
-- (published, called or skipped). Counters, so that nothing is read for them; a day that is dropped takes its count along.
select coalesce(sum(pg_stat_get_tuples_inserted(part.relid)) filter (where journal = 'inbox'), 0)::bigint as accepted,
       coalesce(sum(pg_stat_get_tuples_inserted(part.relid)) filter (where journal = 'inbox_outcomes'), 0)::bigint as settled,
       coalesce(sum(pg_stat_get_tuples_inserted(part.relid)) filter (where journal = 'outbox_outcomes'), 0)::bigint as sent
from unnest(array['inbox', 'inbox_outcomes', 'outbox_outcomes']) journal,
     lateral pg_partition_tree(('order_worker.' || journal)::regclass) part
where part.isleaf
