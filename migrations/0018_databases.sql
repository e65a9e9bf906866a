-- Databases as they are: partitions of a week, sequences behind what a restore brought back, the proof of days that are kept.

-- The partitions of the journals with their bounds: days from `lower` on, before `upper`. The default partitions have none.
create function order_worker.partitions() returns table (journal text, name text, lower date, upper date)
    language sql stable set search_path = pg_catalog, pg_temp
as $$
    select parent.relname::text, child.relname::text, (bound.days[1])::date, (bound.days[2])::date
    from pg_inherits
    join pg_class child on child.oid = inhrelid
    join pg_class parent on parent.oid = inhparent
    cross join lateral regexp_match(pg_get_expr(child.relpartbound, child.oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') bound (days)
    where parent.relnamespace = 'order_worker'::regnamespace
      and parent.relname in ('inbox', 'inbox_outcomes', 'outbox', 'outbox_outcomes') and bound.days is not null
$$;

-- Makes the partitions of today and the next `ahead` days, a week each, from Monday on: a statement over a journal locks each of its
-- partitions, and a year of days would be more than Postgres' lock table holds by default. Days that have a partition keep it. A week
-- whose rows went to the default partition (nobody made its own in time) stays there: returns how many partitions could not be made.
create or replace function order_worker.ensure_partitions(ahead integer default 7) returns integer
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
<<ensure_partitions>>
declare
    journal text;
    first date;
    next date;
    missed integer := 0;
begin
    if ahead not between 1 and 60 then
        raise exception 'ensure_partitions: ahead must be 1 to 60, not %', ahead;
    end if;
    perform pg_advisory_xact_lock(hashtext('order_worker.partitions'));
    foreach journal in array array['inbox', 'inbox_outcomes', 'outbox', 'outbox_outcomes'] loop
        first := order_worker.today();
        while first <= order_worker.today() + ahead loop
            select p.upper into next from order_worker.partitions() p
            where p.journal = ensure_partitions.journal and p.lower <= first and p.upper > first;
            if not found then
                -- From Monday, or from where the one before ends, to the next Monday, or to where the next one begins.
                first := greatest(date_trunc('week', first)::date, (
                    select max(p.upper) from order_worker.partitions() p
                    where p.journal = ensure_partitions.journal and p.upper <= first));
                next := least(date_trunc('week', first)::date + 7, (
                    select min(p.lower) from order_worker.partitions() p
                    where p.journal = ensure_partitions.journal and p.lower > first));
                begin
                    execute format('create table order_worker.%I partition of order_worker.%I for values from (%L) to (%L)',
                        format('%s_%s', journal, to_char(first, 'YYYYMMDD')), journal, first, next);
                exception when check_violation or lock_not_available then
                    missed := missed + 1;
                end;
            end if;
            first := next;
        end loop;
    end loop;
    return missed;
end $$;

-- Days of a schema that nobody has used yet become weeks.
do $$
declare
    old record;
    used boolean;
begin
    for old in select p.name from order_worker.partitions() p where p.upper = p.lower + 1 loop
        execute format('select exists (select from order_worker.%I)', old.name) into used;
        if not used then
            execute format('drop table order_worker.%I', old.name);
        end if;
    end loop;
end $$;
select order_worker.ensure_partitions(7);

-- Drops partitions of the journals all of whose days are older than `keep_bodies`, the oldest first and at most `most` of them: what a
-- transaction locks has a bound, and whoever calls again goes on. Bodies of rows that are not finished move to the default partition
-- first, in the same transaction; those that were finished since are deleted there, with their outcomes. Returns the names of what was
-- dropped.
drop function order_worker.drop_expired_partitions(interval);
create function order_worker.drop_expired_partitions(keep_bodies interval, most integer default 8) returns setof text
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    before date := (clock_timestamp() at time zone 'utc' - keep_bodies)::date;
    old record;
    queues text[];
begin
    if keep_bodies < interval '1 day' then
        raise exception 'drop_expired_partitions: bodies are kept for a day at the least, not %', keep_bodies;
    end if;
    perform pg_advisory_xact_lock(hashtext('order_worker.partitions'));
    for old in
        select p.name, p.journal from order_worker.partitions() p where p.upper <= before order by p.lower, p.name limit most
    loop
        execute format('alter table order_worker.%I detach partition order_worker.%I', old.journal, old.name);
        queues := case old.journal when 'inbox' then array['inbox'] when 'outbox' then array['dapr', 'warehouse'] end;
        if queues is not null then
            execute format('insert into order_worker.%I select d.* from order_worker.%I d
                where exists (select from order_worker.pending p where p.queue = any($1) and p.id = d.id)', old.journal, old.name)
                using queues;
        end if;
        execute format('drop table order_worker.%I', old.name);
        return next old.name;
    end loop;
    delete from order_worker.inbox_default d
    where d.day < before and not exists (select from order_worker.pending p where p.queue = 'inbox' and p.id = d.id);
    delete from order_worker.inbox_outcomes_default o
    where o.day < before and not exists (select from order_worker.inbox_default d where d.day = o.day and d.id = o.id);
    delete from order_worker.outbox_default d
    where d.day < before
      and not exists (select from order_worker.pending p where p.queue in ('dapr', 'warehouse') and p.id = d.id);
    delete from order_worker.outbox_outcomes_default o
    where o.day < before and not exists (select from order_worker.outbox_default d where d.day = o.day and d.id = o.id);
end $$;

-- The first day that the outbox has a partition of: what is older is kept for its own sake only, and says nothing of its day.
create function order_worker.first_day() returns date
    language sql stable set search_path = pg_catalog, pg_temp
as $$ select min(p.lower) from order_worker.partitions() p where p.journal = 'outbox' $$;

-- Sequences that stand behind the numbers of the rows that use them, as a logical restore leaves them: `last` was handed out, `needed`
-- is there. The rows of the journals are the newest by day.
create function order_worker.sequences_behind() returns table (sequence text, last bigint, needed bigint)
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    identity record;
begin
    for identity in
        select pg_get_serial_sequence(t.relation, 'id')::regclass as sequence, t.relation
        from unnest(array['order_worker.incident_journal', 'public.order_status_history']) t (relation)
        where to_regclass(t.relation) is not null and pg_get_serial_sequence(t.relation, 'id') is not null
    loop
        sequence := identity.sequence::text;
        execute format('select max(id) from %s', identity.relation) into needed;
        last := coalesce(pg_sequence_last_value(identity.sequence), 0);
        if last < needed then
            return next;
        end if;
    end loop;
    sequence := 'order_worker.journal_id';
    last := coalesce(pg_sequence_last_value('order_worker.journal_id'), 0);
    needed := greatest(
        (select i.id from order_worker.inbox i order by i.day desc, i.id desc limit 1),
        (select o.id from order_worker.outbox o order by o.day desc, o.id desc limit 1),
        (select max(p.id) from order_worker.pending p), (select max(r.id) from order_worker.cron_runs r));
    if last < needed then
        return next;
    end if;
end $$;

-- Announces something about an order in the caller's transaction: a topic of the outbox, its JSON, and the cause, which names the
-- one thing that makes this announcement happen (a request id, a return id): the same cause announces once. A status that is announced
-- so is the caller's word: its id is not the one that a change of the order makes, and the proof asks for no history of it.
create or replace function order_worker.announce(topic text, order_id text, body jsonb, cause text) returns uuid
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    variant text := coalesce(body ->> 'new_status', body ->> 'return_id', body ->> 'exchange_id', '');
begin
    if coalesce(topic, '') = '' or length(topic) > 255 or coalesce(cause, '') = '' or length(cause) > 255 then
        raise exception 'announce: topic and cause have 1 to 255 characters' using errcode = 'invalid_parameter_value';
    end if;
    if jsonb_typeof(body) is distinct from 'object' then
        raise exception 'announce: the body is a JSON object, not %', coalesce(jsonb_typeof(body), 'nothing')
            using errcode = 'invalid_parameter_value';
    end if;
    if topic = 'orders.order.status_changed' then
        variant := 'announced ' || variant;
    end if;
    perform from public.orders o where o.id = announce.order_id for no key update;
    if not found then
        raise exception 'order % does not exist', order_id using errcode = 'foreign_key_violation';
    end if;
    perform order_worker.append_outbox(
        array[cause], array['dapr'], array[topic], array[order_id], array[order_id], array[variant], array[body],
        array[null::text], array[null::timestamptz]);
    return order_worker.event_id(cause, 'dapr', topic, order_id, variant);
end $$;
