-- queue/sample_server: what hurts the queue one day: an old snapshot, missing partitions. Snapshots are
-- told by their transaction ids, which every role may read; since when they are held is hidden from a role without rights.
with part as materialized (select * from order_worker.partitions())
select (select x.xmin::text from (
            select backend_xmin as xmin from pg_stat_activity
            where pid <> pg_backend_pid() and (datname = current_database() or backend_type = 'walsender')
            union all select transaction from pg_prepared_xacts where database = current_database()
            union all select xmin from pg_replication_slots) x
        -- One that nothing has happened since holds up nothing.
        where age(x.xmin) > 0 order by age(x.xmin) desc limit 1) as oldest_snapshot,
       -- Days from tomorrow on that have all their partitions.
       (select coalesce(min(ahead) - 1, 31) from generate_series(1, 31) ahead
        cross join unnest(array['inbox', 'inbox_outcomes', 'outbox', 'outbox_outcomes']) j (journal)
        where not exists (select from part p where p.journal = j.journal
                          and p.lower <= order_worker.today() + ahead and p.upper > order_worker.today() + ahead))::bigint
           as partitions_ready,
       (select count(*) from order_worker.pending where queue = 'inbox' and state = 'quarantined') as quarantined
