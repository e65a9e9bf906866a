-- board/rows: rows of queues in a state of the board's, the newest first. Of what is finished only the newest 10000 of each journal
-- and each of two days: a page costs what it shows, whatever the history.
with hand as (
    select w.queue, w.worker, unnest(w.in_hand) as id from order_worker.workers w where w.lease_until > clock_timestamp()
), days as (
    select order_worker.today() - n as day from generate_series(0, 1) n where $2 = 'Done'
), rows as (
    select p.queue, p.id, p.key, p.state, p.attempts, extract(epoch from p.created_at)::bigint as created, null::bigint as done,
           h.worker, p.last_error as error,
           case when h.worker is not null then 'Running' when p.state = 'ready' then 'Pending' when p.state in ('waiting', 'blocked') then 'Queued'
                when p.state = 'dead' then 'Killed' else 'Failed' end as status
    from order_worker.pending p
    left join hand h on h.queue = p.queue and h.id = p.id
    where p.queue = any($1) and $2 <> 'Done'
    union all
    select 'inbox', o.id, null, o.outcome, 1, extract(epoch from o.settled_at)::bigint, extract(epoch from o.settled_at)::bigint, null, o.reason, 'Done'
    from days d
    cross join lateral (
        select * from order_worker.inbox_outcomes o
        where o.day = d.day and ($3::bigint is null or o.id = $3) order by o.id desc limit least($4::bigint + $5::bigint, 10000)) o
    where 'inbox' = any($1)
    union all
    select s.*
    from days d
    cross join lateral (
        select b.channel, o.id, b.subject, o.outcome, o.attempts, extract(epoch from b.created_at)::bigint,
               extract(epoch from o.settled_at)::bigint, null::text, o.reason, 'Done'
        from (
            select * from order_worker.outbox_outcomes o
            where o.day = d.day and ($3::bigint is null or o.id = $3) order by o.id desc limit 10000) o
        cross join lateral (select * from order_worker.outbox b where b.day = o.day and b.id = o.id offset 0) b
        where b.channel = any($1)
        order by o.id desc limit $4::bigint + $5::bigint) s
    where $1 && array['dapr', 'warehouse']
    union all
    select 'cron', r.id, r.job, r.outcome, 1, extract(epoch from r.tick)::bigint, extract(epoch from r.finished_at)::bigint, r.worker, r.error, 'Done'
    from (
        select * from order_worker.cron_runs r
        where r.finished_at is not null and ($3::bigint is null or r.id = $3) order by r.id desc limit least($4::bigint + $5::bigint, 10000)) r
    where 'cron' = any($1) and $2 = 'Done'
)
select * from rows
where status = $2 and ($3::bigint is null or id = $3)
order by id desc
limit $4 offset $5
