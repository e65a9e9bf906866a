-- replay/decided: of these events, those that a person has spoken about: the last word, where it closes them, and whether their amount
-- was approved. Resolving an incident that the event has caused is such a word too; approving an amount resolves the incident about it
-- and closes nothing.
with word as (
    select distinct on (d.id) d.id, d.verb from order_worker.decisions d
    where d.id = any($1) and d.verb <> 'edit'
    order by d.id, d.decided_at desc
), incident as (
    select n.cause, min(n.kind) filter (where n.kind <> 'amount_mismatch') as other, bool_or(n.kind = 'amount_mismatch') as amount
    from order_worker.incident_journal n
    where n.cause = any($2) and n.resolved_by is not null and n.kind <> 'same_id_other_body'
    group by n.cause
), spoken as (
    select t.id,
           coalesce(
               case w.verb when 'reject' then 'rejected' when 'drop' then 'dropped' when 'skip' then 'skipped' end,
               'incident ' || i.other || ' resolved',
               case when i.amount and w.verb is distinct from 'approve' then 'incident amount_mismatch resolved' end) as closed,
           exists (select from order_worker.decisions d where d.id = w.id and d.verb = 'approve') as approved
    from unnest($1::bigint[], $2::text[]) t (id, cause)
    left join word w on w.id = t.id
    left join incident i on i.cause = t.cause
    where w.id is not null or i.cause is not null
)
select id, closed, approved from spoken where closed is not null or approved
