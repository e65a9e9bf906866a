-- board/rows: rows of queues in a state of the board's, the newest first. What is finished comes from the outcomes of the last days.
select * from (
    select p.queue, p.id, p.key, p.state, p.attempts, extract(epoch from p.created_at)::bigint as created, null::bigint as done,
           w.worker, p.last_error as error,
           case when w.worker is not null then 'Running' when p.state = 'ready' then 'Pending' when p.state in ('waiting', 'blocked') then 'Queued'
                when p.state = 'dead' then 'Killed' else 'Failed' end as status
    from order_worker.pending p
    left join order_worker.workers w on w.queue = p.queue and p.id = any(w.in_hand) and w.lease_until > clock_timestamp()
    where p.queue = any($1) and $2 <> 'Done'
    union all
    select 'inbox', o.id, null, o.outcome, 1, extract(epoch from o.settled_at)::bigint, extract(epoch from o.settled_at)::bigint, null, o.reason, 'Done'
    from order_worker.inbox_outcomes o
    where 'inbox' = any($1) and $2 = 'Done' and o.day >= order_worker.today() - 1
    union all
    select b.channel, o.id, b.order_id, o.outcome, o.attempts, extract(epoch from b.created_at)::bigint, extract(epoch from o.settled_at)::bigint,
           null, o.reason, 'Done'
    from order_worker.outbox_outcomes o
    join order_worker.outbox b on b.day = o.day and b.id = o.id
    where b.channel = any($1) and $2 = 'Done' and o.day >= order_worker.today() - 1
    union all
    select 'cron', r.id, r.job, r.outcome, 1, extract(epoch from r.tick)::bigint, extract(epoch from r.finished_at)::bigint, r.worker, r.error, 'Done'
    from order_worker.cron_runs r
    where 'cron' = any($1) and $2 = 'Done' and r.finished_at is not null
) rows
where status = $2 and ($3::bigint is null or id = $3)
order by id desc
limit $4 offset $5
