-- The ways to write the outbox and a status. The worker, its library and the API pod all come through here, so that
--   each status change has exactly one history row and one announcement, in its own transaction;
--   an announcement has the same id however often its cause comes back;
--   the announcements of one order get their ids in the order in which its changes commit (its row is locked first).

-- A part of what is hashed, with its length before it, so that no two lists of parts hash alike.
create function order_worker.sized(part text) returns bytea
    language sql immutable strict parallel safe
    return int4send(octet_length(part)) || convert_to(part, 'UTF8');

-- The CloudEvent id (and the warehouse's idempotency key): 128 bits of a sha256 over parts with their lengths.
create function order_worker.event_id(cause text, channel text, topic text, order_id text, variant text) returns uuid
    language sql immutable strict parallel safe
    return encode(substr(sha256(
        order_worker.sized('order-worker/v1') || order_worker.sized(cause) || order_worker.sized(channel)
        || order_worker.sized(topic) || order_worker.sized(order_id) || order_worker.sized(variant)
    ), 1, 16), 'hex')::uuid;

-- Writes outbox rows and what is to be done about them. `keys` is what keeps the order: rows of one key go out one after the
-- other. The caller holds the lock on the orders. A row that is there already is passed over when its body is the same, and an
-- error when it is not. Returns how many rows are new.
create function order_worker.append_outbox(
    causes text[], channels text[], topics text[], order_ids text[], keys text[], variants text[], bodies jsonb[],
    traceparents text[], received_ats timestamptz[]
) returns integer
    language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_mergejoin = off
as $$
declare
    fresh_rows integer;
    clash record;
begin
    with entry as (
        select nextval('order_worker.journal_id') as id, order_worker.today() as day,
               order_worker.event_id(cause, channel, topic, order_id, variant) as event_id,
               sha256(convert_to(body::text, 'UTF8')) as body_hash, e.*
        from (
            select * from unnest(causes, channels, topics, order_ids, keys, variants, bodies, traceparents, received_ats)
                with ordinality as t (cause, channel, topic, order_id, key, variant, body, traceparent, received_at, ord)
            order by ord
        ) e
    ), fresh as (
        insert into order_worker.outbox_keys (event_id, body_hash, id, day)
        select event_id, body_hash, id, day from entry order by event_id, id
        on conflict do nothing
        returning id
    ), journal as (
        insert into order_worker.outbox (day, id, event_id, channel, topic, order_id, body, cause, traceparent, received_at)
        select day, id, event_id, channel, topic, order_id, body, cause, traceparent, received_at
        from entry join fresh using (id)
    )
    insert into order_worker.pending (queue, id, day, lane, key)
    select channel, id, day, order_worker.lane(key), key from entry join fresh using (id);
    get diagnostics fresh_rows = row_count;

    if fresh_rows < cardinality(causes) then
        select e.topic, e.order_id, e.cause, k.event_id into clash
        from unnest(causes, channels, topics, order_ids, variants, bodies)
            as e (cause, channel, topic, order_id, variant, body)
        cross join lateral (
            select * from order_worker.outbox_keys k
            where k.event_id = order_worker.event_id(e.cause, e.channel, e.topic, e.order_id, e.variant) offset 0
        ) k
        where k.body_hash <> sha256(convert_to(e.body::text, 'UTF8'))
        limit 1;
        if found then
            raise exception 'outbox: % of order % was announced before under id %, with another body', clash.topic, clash.order_id, clash.event_id
                using errcode = 'unique_violation',
                      hint = format('cause %L stands for one announcement: give another cause, or the same body', clash.cause);
        end if;
    end if;
    return fresh_rows;
end $$;

-- The steps with the status that each starts from; null where the order does not exist.
create function order_worker.order_steps(order_ids text[], new_statuses text[])
    returns table (ord bigint, order_id text, old_status text, new_status text)
    language sql stable
begin atomic
    select t.ord, t.order_id,
           coalesce(lag(t.new_status) over (partition by t.order_id order by t.ord), o.status),
           t.new_status
    from unnest(order_ids, new_statuses) with ordinality t (order_id, new_status, ord)
    left join lateral (select o.status from public.orders o where o.id::text = t.order_id offset 0) o on true;
end;

-- What `orders.order.status_changed` says. old_status is empty for an order that was just created.
create function order_worker.status_changed_body(o public.orders, old_status text, new_status text, reason text, moment timestamptz)
    returns jsonb
    language sql stable
    return jsonb_strip_nulls(jsonb_build_object(
        'event_type', 'order.status_changed', 'order_id', o.id, 'order_number', o.order_number,
        'old_status', coalesce(old_status, ''), 'new_status', new_status,
        'timestamp', to_char(moment at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'user_id', o.user_id, 'reason', reason));

-- Changes the status of orders, in the order of the arrays; several steps of one order are allowed. Locks the rows in id order,
-- refuses a move that the machine does not have, writes history and announcements. Returns how many steps were made.
create function order_worker.change_orders(
    order_ids text[], new_statuses text[], reasons text[], notes text[], causes text[], traceparents text[],
    received_ats timestamptz[]
) returns integer
    language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_mergejoin = off
as $$
declare
    moment timestamptz := clock_timestamp();
    steps integer;
    wrong record;
    last_ids text[];
    last_statuses text[];
begin
    perform from public.orders where id = any(order_ids) order by id for no key update;

    select s.order_id, s.old_status, s.new_status into wrong
    from order_worker.order_steps(order_ids, new_statuses) s
    where not exists (select from order_worker.legal_moves m where m.old_status = s.old_status and m.new_status = s.new_status)
    limit 1;
    if found then
        if wrong.old_status is null then
            raise exception 'order % does not exist', wrong.order_id using errcode = 'foreign_key_violation';
        end if;
        raise exception 'order % is %: it cannot become %', wrong.order_id, wrong.old_status, wrong.new_status
            using errcode = 'check_violation', hint = 'the legal moves are in order_worker.legal_moves';
    end if;

    insert into public.order_status_history (order_id, old_status, new_status, reason, notes, created_at)
    select s.order_id, s.old_status, s.new_status, reasons[s.ord], notes[s.ord], moment
    from order_worker.order_steps(order_ids, new_statuses) s order by s.ord;
    get diagnostics steps = row_count;

    perform order_worker.append_outbox(
        array_agg(causes[s.ord] order by s.ord),
        array_agg('dapr'::text),
        array_agg('orders.order.status_changed'::text),
        array_agg(s.order_id order by s.ord),
        array_agg(s.order_id order by s.ord),
        array_agg(s.new_status order by s.ord),
        array_agg(order_worker.status_changed_body(row(o.*)::public.orders, s.old_status, s.new_status, reasons[s.ord], moment) order by s.ord),
        array_agg(traceparents[s.ord] order by s.ord),
        array_agg(received_ats[s.ord] order by s.ord))
    from order_worker.order_steps(order_ids, new_statuses) s
    cross join lateral (select * from public.orders where id = s.order_id offset 0) o
    having count(*) > 0;

    select array_agg(order_id), array_agg(new_status) into last_ids, last_statuses
    from (
        select distinct on (order_id) order_id, new_status
        from unnest(order_ids, new_statuses) with ordinality t (order_id, new_status, ord)
        order by order_id, ord desc
    ) last;
    update public.orders set status = last_statuses[array_position(last_ids, id)], updated_at = moment where id = any(last_ids);
    return steps;
end $$;

-- Announces something about an order in the caller's transaction: a topic of the outbox, its JSON, and the cause, which names the
-- one thing that makes this announcement happen (a request id, a return id): the same cause announces once.
create function order_worker.announce(topic text, order_id text, body jsonb, cause text) returns uuid
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
    perform from public.orders o where o.id = announce.order_id for no key update;
    if not found then
        raise exception 'order % does not exist', order_id using errcode = 'foreign_key_violation';
    end if;
    perform order_worker.append_outbox(
        array[cause], array['dapr'], array[topic], array[order_id], array[order_id], array[variant], array[body],
        array[null::text], array[null::timestamptz]);
    return order_worker.event_id(cause, 'dapr', topic, order_id, variant);
end $$;

-- Whether this cause has announced this status of the order: what it stands for is done, and whoever does not know how its COMMIT
-- ended may ask again.
create function order_worker.is_announced(cause text, order_id text, new_status text) returns boolean
    language sql stable
begin atomic
    select exists (
        select from order_worker.outbox_keys k
        where k.event_id = order_worker.event_id(cause, 'dapr', 'orders.order.status_changed', order_id, new_status));
end;

-- One move of the status machine, for the API pod: confirmed by hand, shipped, delivered, cancelled. The same cause moves once.
create function order_worker.change_order(order_id text, new_status text, reason text, notes text, cause text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform from public.orders o where o.id = change_order.order_id for no key update;
    if order_worker.is_announced(cause, order_id, new_status) then
        return;
    end if;
    perform order_worker.change_orders(
        array[order_id], array[new_status], array[reason], array[notes], array[cause], array[null::text],
        array[null::timestamptz]);
end $$;

-- Announces an order that the caller's transaction has just inserted (as `pending`), writes its first history row, and wakes the
-- events that came before it. The same cause does so once.
create function order_worker.order_created(order_id text, cause text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    created public.orders;
    moment timestamptz := clock_timestamp();
begin
    select * into created from public.orders o where o.id = order_created.order_id for no key update;
    if not found then
        raise exception 'order % does not exist', order_id using errcode = 'foreign_key_violation';
    end if;
    if order_worker.is_announced(cause, order_id, 'pending') then
        return;
    end if;
    if created.status <> 'pending' then
        raise exception 'order % is %: a new order is pending', order_id, created.status using errcode = 'check_violation';
    end if;
    if exists (select from public.order_status_history h where h.order_id = created.id) then
        raise exception 'order % was announced as created before, by another cause', order_id using errcode = 'unique_violation';
    end if;
    insert into public.order_status_history (order_id, old_status, new_status, created_at)
    values (created.id, null, 'pending', moment);
    perform order_worker.append_outbox(
        array[cause], array['dapr'], array['orders.order.status_changed'], array[created.id], array[created.id],
        array['pending'], array[order_worker.status_changed_body(created, null, 'pending', null, moment)], array[null::text],
        array[null::timestamptz]);
    update order_worker.pending p set due = clock_timestamp()
    where p.queue = 'inbox' and p.state = 'waiting' and p.key = created.id;
end $$;
