-- doctor/queue: workers, lanes and partitions.
-- A process has a name for each way out: host, process, and a random part.
select (select count(distinct regexp_replace(worker, '/[^/]*$', '')) from order_worker.workers where lease_until > clock_timestamp()) as workers,
       (select count(*) from order_worker.lanes l where not exists (
            select from order_worker.workers w
            where w.queue = l.queue and w.worker = l.owner and w.lease_until > clock_timestamp())) as unowned,
       (select count(*) from unnest(array['inbox', 'inbox_outcomes', 'outbox', 'outbox_outcomes']) j (journal)
        where not exists (select from order_worker.partitions() p where p.journal = j.journal
                          and p.lower <= order_worker.today() + 1 and p.upper > order_worker.today() + 1)) as missing_partitions,
       (select count(*) from order_worker.pending where state = 'dead') as dead,
       (select count(*) from order_worker.pending where state in ('held', 'quarantined')) as undecided,
       (select count(*) from order_worker.incident_journal where resolved_at is null) as incidents,
       (select count(*) from order_worker.pauses) as pauses,
       (select count(*) from order_worker.pending where state in ('ready', 'waiting') and created_at < clock_timestamp() - interval '5 minutes') as old,
       (select string_agg(format('%s rows of %s do not get through, the oldest is %s: %s', rows, queue, id, left(error, 200)), '; ' order by queue)
        from (select queue, count(*) as rows, min(id) as id, (array_agg(last_error order by id))[1] as error
              from order_worker.pending
              where state = 'waiting' and last_error is not null and created_at < clock_timestamp() - interval '5 minutes'
              group by queue) failing) as failing,
       (select string_agg(j.job, ', ' order by j.job) from order_worker.cron_jobs j where j.next_tick < clock_timestamp() - interval '5 minutes'
            and not order_worker.is_paused('cron', j.job)) as late_jobs,
       (select string_agg(format('%s (%s)', j.job, j.schedule), ', ' order by j.job) from order_worker.cron_jobs j
        where j.next_tick is not null and j.registered_until < clock_timestamp()) as unattended_jobs
