-- egress/settle: rows that are done, of the editions that were in hand: one that is sent again meanwhile, or was edited, stays. Deleting
-- is harmless from anyone; only who deletes writes the outcome. Rows that were blocked behind them go on. Returns the rows that were
-- deleted, each with whether any goes on.
with done as (
    delete from order_worker.pending p where p.id = any($2) and p.edition = ($5::bigint[])[array_position($2, p.id)]
    returning id, day, key, attempts, ($3::text[])[array_position($2, id)] as outcome, ($4::text[])[array_position($2, id)] as reason
), outcome as (
    insert into order_worker.outbox_outcomes (day, id, outcome, attempts, reason)
    select day, id, outcome, attempts + 1, reason from done
    on conflict do nothing
), unblocked as (
    update order_worker.pending set state = 'ready'
    where id = any(array(
        select b.id
        from done d
        cross join lateral (select id from order_worker.pending where queue = $1 and key = d.key and state = 'blocked' offset 0) b))
    returning id
)
select d.id, again.again from done d cross join (select exists (select from unblocked) as again) again
