-- Ids of the shared tables are texts, uuids or whole numbers, as their owner has them. In the tables of this schema they are texts, as
-- `id::text` prints them: two texts that mean one order would be two orders there. Functions over the shared tables have bodies that
-- are texts as well, so that nothing holds a shared column, which is its owner's to change.

-- Ids -----------------------------------------------------------------------------------------------------------------------

-- The shared tables with an id that is looked for: its type, and the type that the functions of fit_ids() were made for.
create view order_worker.shared_ids as
select t.name, t.relation,
       (select case format_type(a.atttypid, null) when 'uuid' then 'uuid' when 'bigint' then 'bigint' when 'integer' then 'bigint' else 'text' end
        from pg_attribute a where a.attrelid = to_regclass(t.relation) and a.attname = 'id' and not a.attisdropped) as type,
       (select format_type(p.prorettype, null) from pg_proc p
        where p.oid = to_regprocedure(format('order_worker.%s_key(text)', t.name))) as made_for
from (values ('order', 'public.orders'), ('item', 'public.order_items'), ('session', 'public.sessions'), ('cart', 'public.carts'))
    as t (name, relation);

-- Makes, for each of these tables whose type of id they do not have:
--   <name>_key(text)     the id that a text means; null where it means none: there is no such row, and nothing fails
--   <name>_keys(text[])  the same of many
--   <name>_cursor(text)  the id behind which a job goes on; of null one before all others
-- A uuid may be written in each of the ways that Postgres reads, a whole number in one. For texts they are the text itself, and the
-- planner sees nothing of them. Run at each `order-worker migrate`: the owner may have given an id another type.
create function order_worker.fit_ids() returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    id record;
    meant text;
    least text;
begin
    for id in select * from order_worker.shared_ids where type is distinct from made_for and type is not null loop
        execute format('drop function if exists order_worker.%1$s_cursor(text), order_worker.%1$s_keys(text[]), order_worker.%1$s_key(text)', id.name);
        meant := case id.type
            when 'text' then 'given'
            when 'uuid' then
                'case when given ~* ''^([0-9a-f]{4}(-?[0-9a-f]{4}){7}|\{[0-9a-f]{4}(-?[0-9a-f]{4}){7}\})$'' then given::uuid end'
            else
                'case when given ~ ''^(0|-?[1-9][0-9]{0,18})$'' then
                     case when given::numeric between -9223372036854775808 and 9223372036854775807 then given::bigint end end'
        end;
        least := case id.type when 'text' then '' when 'uuid' then '00000000-0000-0000-0000-000000000000' else '-9223372036854775808' end;
        execute format('create function order_worker.%s_key(given text) returns %s language sql immutable parallel safe return %s',
            id.name, id.type, meant);
        execute format('create function order_worker.%1$s_keys(given text[]) returns %2$s[] language sql immutable parallel safe return %3$s',
            id.name, id.type,
            case id.type when 'text' then 'given' else format('array(select order_worker.%s_key(one) from unnest(given) one)', id.name) end);
        execute format(
            'create function order_worker.%1$s_cursor(place text) returns %2$s language sql immutable parallel safe
             return coalesce(order_worker.%1$s_key(place), %3$L::%2$s)', id.name, id.type, least);
    end loop;
end $$;
select order_worker.fit_ids();

-- An order's id as the tables of this schema have it; a text that means no id is itself.
create function order_worker.order_text(given text) returns text
    language sql immutable parallel safe
as $$ select coalesce(order_worker.order_key(given)::text, given) $$;

-- The most characters of a column; null: any number.
create function order_worker.column_length(relation regclass, name text) returns integer
    language sql stable
as $$
    select case when a.atttypid = 'pg_catalog.varchar'::regtype and a.atttypmod > 4 then a.atttypmod - 4 end
    from pg_catalog.pg_attribute a where a.attrelid = relation and a.attname = name and not a.attisdropped
$$;

-- The writers ---------------------------------------------------------------------------------------------------------------

drop function order_worker.order_steps(text[], text[]);
drop function order_worker.status_changed_body(public.orders, text, text, text, timestamptz);
drop function order_worker.lock_order(text);

-- The steps with the status that each starts from; null where the order does not exist.
create function order_worker.order_steps(order_ids text[], new_statuses text[])
    returns table (ord bigint, order_id text, old_status text, new_status text)
    language sql stable
as $$
    select t.ord, o.id,
           coalesce(lag(t.new_status) over (partition by o.id order by t.ord), o.status),
           t.new_status
    from unnest(order_ids, new_statuses) with ordinality t (given, new_status, ord)
    cross join lateral (
        select order_worker.order_text(t.given) as id,
               (select o.status::text from public.orders o where o.id = order_worker.order_key(t.given)) as status offset 0) o
$$;

-- What `orders.order.status_changed` says. old_status is empty for an order that was just created.
create function order_worker.status_changed_body(
    order_id text, order_number text, user_id text, old_status text, new_status text, reason text, moment timestamptz
) returns jsonb
    language sql stable
as $$
    select jsonb_strip_nulls(jsonb_build_object(
        'event_type', 'order.status_changed', 'order_id', order_id, 'order_number', order_number,
        'old_status', coalesce(old_status, ''), 'new_status', new_status,
        'timestamp', to_char(moment at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'user_id', user_id, 'reason', reason))
$$;

-- Changes the status of orders, in the order of the arrays; several steps of one order are allowed. Locks the rows in id order,
-- refuses a move that the machine does not have, writes history and announcements. Returns how many steps were made. What we say in
-- the history is cut to its columns; the announcement says all of it.
create or replace function order_worker.change_orders(
    order_ids text[], new_statuses text[], reasons text[], notes text[], causes text[], traceparents text[],
    received_ats timestamptz[]
) returns integer
    language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_mergejoin = off
as $$
declare
    moment timestamptz := clock_timestamp();
    longest_reason integer := coalesce(order_worker.column_length('public.order_status_history', 'reason'), 2147483647);
    longest_notes integer := coalesce(order_worker.column_length('public.order_status_history', 'notes'), 2147483647);
    steps integer;
    took bigint;
    wrong record;
    last_ids text[];
    last_statuses text[];
begin
    perform from public.orders where id = any(order_worker.order_keys(order_ids)) order by id for no key update;

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
    select order_worker.order_key(s.order_id), s.old_status, s.new_status, left(reasons[s.ord], longest_reason),
           left(notes[s.ord], longest_notes), moment
    from order_worker.order_steps(order_ids, new_statuses) s order by s.ord;
    get diagnostics steps = row_count;

    perform order_worker.append_outbox(
        array_agg(causes[s.ord] order by s.ord),
        array_agg('dapr'::text),
        array_agg('orders.order.status_changed'::text),
        array_agg(s.order_id order by s.ord),
        array_agg(s.order_id order by s.ord),
        array_agg(s.new_status order by s.ord),
        array_agg(order_worker.status_changed_body(
            s.order_id, o.order_number, o.user_id, s.old_status, s.new_status, reasons[s.ord], moment) order by s.ord),
        array_agg(traceparents[s.ord] order by s.ord),
        array_agg(received_ats[s.ord] order by s.ord))
    from order_worker.order_steps(order_ids, new_statuses) s
    cross join lateral (
        select order_number::text, user_id::text from public.orders where id = order_worker.order_key(s.order_id) offset 0) o
    having count(*) > 0;

    select array_agg(order_id), array_agg(new_status) into last_ids, last_statuses
    from (
        select distinct on (1) order_worker.order_text(given) as order_id, new_status
        from unnest(order_ids, new_statuses) with ordinality t (given, new_status, ord)
        order by 1, ord desc
    ) last;
    with changed as (
        update public.orders set status = last_statuses[array_position(last_ids, id::text)], updated_at = moment
        where id = any(order_worker.order_keys(last_ids))
        returning id::text as id, status
    )
    select count(*) into took from changed where status = last_statuses[array_position(last_ids, id)];
    if took < cardinality(last_ids) then
        raise exception 'the status of % orders stayed as it was: a trigger or a policy of the table undoes the change', cardinality(last_ids) - took
            using errcode = 'triggered_data_change_violation';
    end if;
    return steps;
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
    order_id := (order_worker.lock_order(order_id)).id;
    perform order_worker.append_outbox(
        array[cause], array['dapr'], array[topic], array[order_id], array[order_id], array[variant], array[body],
        array[null::text], array[null::timestamptz]);
    return order_worker.event_id(cause, 'dapr', topic, order_id, variant);
end $$;

create or replace function order_worker.change_order(order_id text, new_status text, reason text, notes text, cause text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    topic constant text := 'orders.order.status_changed';
begin
    order_id := order_worker.order_text(order_id);
    perform from public.orders o where o.id = order_worker.order_key(change_order.order_id) for no key update;
    if order_worker.is_asked_again(cause, topic, order_id, new_status, array[reason, notes]) then
        return;
    end if;
    perform order_worker.change_orders(
        array[order_id], array[new_status], array[reason], array[notes], array[cause], array[null::text],
        array[null::timestamptz]);
    perform order_worker.remember_arguments(cause, topic, order_id, new_status, array[reason, notes]);
end $$;

-- Announces an order that the caller's transaction has just inserted (as `pending`), writes its first history row, and wakes the
-- events that came before it. The same cause does so once.
create or replace function order_worker.order_created(order_id text, cause text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    created record;
    moment timestamptz := clock_timestamp();
begin
    select o.id::text, o.order_number::text, o.user_id::text, o.status into created
    from public.orders o where o.id = order_worker.order_key(order_created.order_id) for no key update;
    if not found then
        raise exception 'order % does not exist', order_id using errcode = 'foreign_key_violation';
    end if;
    if order_worker.is_announced(cause, created.id, 'pending') then
        return;
    end if;
    if created.status <> 'pending' then
        raise exception 'order % is %: a new order is pending', created.id, created.status using errcode = 'check_violation';
    end if;
    if exists (select from public.order_status_history h where h.order_id = order_worker.order_key(created.id)) then
        raise exception 'order % was announced as created before, by another cause', created.id using errcode = 'unique_violation';
    end if;
    insert into public.order_status_history (order_id, old_status, new_status, created_at)
    values (order_worker.order_key(created.id), null, 'pending', moment);
    perform order_worker.append_outbox(
        array[cause], array['dapr'], array['orders.order.status_changed'], array[created.id], array[created.id], array['pending'],
        array[order_worker.status_changed_body(created.id, created.order_number, created.user_id, null, 'pending', null, moment)],
        array[null::text], array[null::timestamptz]);
    update order_worker.pending p set due = clock_timestamp()
    where p.queue = 'inbox' and p.state = 'waiting' and p.key = created.id;
end $$;

-- The API pod's part --------------------------------------------------------------------------------------------------------

-- What the warehouse is to be asked about an order's reservations: the items' intent, and one call for each reservation, however many
-- items share it. A reservation is never confirmed once any of its items was released or refused. The caller holds the lock on the
-- order. `order_item_id`, the first of the items, is for workers of the version before.
create or replace function order_worker.call_warehouse(order_id text, method text, statuses text[], reason text, cause text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    intent text := case method when 'ConfirmReservation' then 'confirming' else 'releasing' end;
    items jsonb[];
    reservations text[];
    calls integer;
begin
    with intended as (
        update public.order_items i set reservation_status = intent
        where i.order_id = order_worker.order_key(call_warehouse.order_id) and i.reservation_id <> ''
          and coalesce(i.reservation_status, 'reserved') = any(statuses)
          and not (method = 'ConfirmReservation' and exists (
              select from public.order_items other
              where other.order_id = i.order_id and other.reservation_id = i.reservation_id
                and other.reservation_status in ('releasing', 'released', 'refused')))
        returning i.id, i.reservation_id
    ), reservation as (
        select distinct on (reservation_id) reservation_id, id as item_id from intended order by reservation_id, id
    )
    select array_agg(to_jsonb(item_id) order by item_id), array_agg(reservation_id order by item_id), count(*) into items, reservations, calls
    from reservation;
    if calls = 0 then
        return;
    end if;
    perform order_worker.append_outbox(
        array_fill(cause, array[calls]), array_fill('warehouse'::text, array[calls]), array_fill(method, array[calls]),
        array_fill(order_id, array[calls]), reservations,
        array(select method || ' ' || r from unnest(reservations) with ordinality t (r, n) order by n),
        array(select jsonb_build_object('reservation_id', r, 'order_item_id', items[n], 'reason', reason)
              from unnest(reservations) with ordinality t (r, n) order by n),
        array_fill(null::text, array[calls]), array_fill(null::timestamptz, array[calls]));
end $$;

-- Locks an order and gives back what decides about it, or fails: no such order.
create function order_worker.lock_order(order_id text, out id text, out status text, out payment_method text, out delivered boolean)
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    select o.id::text, o.status, o.payment_method, o.delivered into lock_order.id, lock_order.status, lock_order.payment_method, lock_order.delivered
    from public.orders o where o.id = order_worker.order_key(lock_order.order_id) for no key update;
    if not found then
        raise exception 'order % does not exist', order_id using errcode = 'foreign_key_violation';
    end if;
end $$;

create or replace function order_worker.confirm_order(order_id text, notes text, cause text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    reason constant text := 'Confirmed by hand';
begin
    order_id := (order_worker.lock_order(order_id)).id;
    if order_worker.is_asked_again(cause, 'orders.order.status_changed', order_id, 'confirmed', array[reason, notes]) then
        return;
    end if;
    perform order_worker.change_order(order_id, 'confirmed', reason, notes, cause);
    perform order_worker.call_warehouse(order_id, 'ConfirmReservation', array['reserved'], reason, cause);
end $$;

create or replace function order_worker.deliver_order(order_id text, notes text, cause text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    locked record := order_worker.lock_order(order_id);
begin
    if not (locked.status = 'pending' and upper(locked.payment_method) = 'COD') then
        perform order_worker.change_order(order_id, 'delivered', 'Delivered', notes, cause);
    end if;
    update public.orders o set delivered = true, updated_at = clock_timestamp()
    where o.id = order_worker.order_key(locked.id) and not o.delivered;
end $$;

create or replace function order_worker.cancel_order(order_id text, reason text, cause text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    order_id := (order_worker.lock_order(order_id)).id;
    if order_worker.is_asked_again(cause, 'orders.order.status_changed', order_id, 'cancelled', array[reason, null]) then
        return;
    end if;
    perform order_worker.change_order(order_id, 'cancelled', reason, null, cause);
    perform order_worker.call_warehouse(
        order_id, 'ReleaseReservation', array['reserved', 'confirming', 'confirmed'], reason, cause);
end $$;

-- Announces what a return or an exchange has come to: topic order.<kind>.<status>.
create or replace function order_worker.announce_return(it order_worker.returns, cause text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    about text := format('order.%s.%s', it.kind, it.status);
    number text;
begin
    select o.order_number::text into number from public.orders o where o.id = order_worker.order_key(it.order_id);
    perform order_worker.announce(about, it.order_id, jsonb_strip_nulls(jsonb_build_object(
        'event_type', about, it.kind || '_id', it.id, 'order_id', it.order_id, 'order_number', number,
        'status', it.status, 'items', it.items, 'reason', it.reason,
        'timestamp', to_char(it.changed_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))), cause);
end $$;

-- A customer wants to send goods of a delivered order back, or others for them. `wanted`: [{"order_item_id": 1, "quantity": 1}], the
-- id as the order service has it; no more than was ordered, all returns and exchanges that were not rejected together.
create or replace function order_worker.request_goods(kind text, return_id text, order_id text, wanted jsonb, reason text, cause text)
    returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    locked record := order_worker.lock_order(order_id);
    topic text := format('order.%s.requested', kind);
    wrong record;
    made order_worker.returns;
begin
    if order_worker.is_asked_again(cause, topic, locked.id, return_id, array[wanted::text, reason]) then
        return;
    end if;
    if not locked.delivered and locked.status <> 'delivered' then
        raise exception 'order % is %: goods come back from a delivered order', locked.id, locked.status
            using errcode = 'check_violation';
    end if;
    if jsonb_typeof(wanted) is distinct from 'array' or jsonb_array_length(wanted) = 0 then
        raise exception 'the items of % % are a list of one or more', kind, return_id using errcode = 'invalid_parameter_value';
    end if;
    select w.order_item_id, w.quantity, i.quantity as ordered, coalesce(back.quantity, 0) as back into wrong
    from (
        select coalesce(order_worker.item_key(t.order_item_id)::text, t.order_item_id) as order_item_id, sum(t.quantity) as quantity,
               bool_and(t.quantity > 0) as positive
        from jsonb_to_recordset(wanted) t (order_item_id text, quantity integer) group by 1
    ) w
    left join public.order_items i on i.id = order_worker.item_key(w.order_item_id) and i.order_id = order_worker.order_key(locked.id)
    left join lateral (
        select sum((x ->> 'quantity')::integer) as quantity
        from order_worker.returns r cross join jsonb_array_elements(r.items) x
        where r.order_id = locked.id and r.status <> 'rejected' and x ->> 'order_item_id' = w.order_item_id
    ) back on true
    where i.id is null or w.positive is not true or w.quantity + coalesce(back.quantity, 0) > i.quantity
    limit 1;
    if found then
        raise exception '% % wants % of item %: order % has % of it, of which % came back already',
            kind, return_id, coalesce(wrong.quantity::text, 'nothing'), coalesce(wrong.order_item_id, '(none)'), locked.id,
            coalesce(wrong.ordered, 0), wrong.back
            using errcode = 'check_violation';
    end if;
    insert into order_worker.returns (id, kind, order_id, status, items, reason)
    select return_id, kind, locked.id, 'requested',
           jsonb_agg(jsonb_build_object('order_item_id', i.id, 'sku', i.sku, 'quantity', t.quantity) order by t.n), reason
    from rows from (jsonb_to_recordset(wanted) as (order_item_id text, quantity integer)) with ordinality
         as t (order_item_id, quantity, n)
    join public.order_items i on i.id = order_worker.item_key(t.order_item_id)
    returning * into made;
    perform order_worker.announce_return(made, cause);
    perform order_worker.remember_arguments(cause, topic, locked.id, return_id, array[wanted::text, reason]);
end $$;

-- What a call that a person has given up leaves behind: an item that waits for no answer. Of a reservation that was not confirmed
-- nothing was asked; one that was not released is nobody's to release again.
create or replace function order_worker.give_up_call(day date, id bigint) returns boolean
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    update public.order_items i
    set reservation_status = case b.topic when 'ConfirmReservation' then 'reserved' else 'released' end
    from order_worker.outbox b
    where b.day = give_up_call.day and b.id = give_up_call.id
      and i.order_id = order_worker.order_key(b.order_id) and i.reservation_id = b.body ->> 'reservation_id'
      and i.reservation_status = case b.topic when 'ConfirmReservation' then 'confirming' else 'releasing' end;
    return true;
end $$;

-- Events --------------------------------------------------------------------------------------------------------------------

-- Gives a row that was given up, or waits for its next attempt, another body and makes it ready: the journals are not the runtime
-- role's to change, and here the old body is kept. The event keeps its key and fingerprint, the announcement its id: what comes again
-- is still recognised. What a body has to be is checked before (src/operations/edit.rs); here stands what must hold whatever the caller.
create or replace function order_worker.edit_dead(row_id bigint, new_body bytea, actor text, reason text) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    letter order_worker.pending;
    old_body bytea;
    json jsonb;
    belongs_to text;
begin
    select * into letter from order_worker.pending p where p.id = row_id for update;
    if not found or letter.queue = 'cron' or letter.state not in ('dead', 'waiting') then
        raise exception 'row % is neither dead nor waiting', row_id using errcode = 'check_violation',
            hint = 'order-worker dead list';
    end if;
    begin
        json := convert_from(new_body, 'UTF8')::jsonb;
    exception when others then
        raise exception 'the new body is no JSON: %', sqlerrm using errcode = 'invalid_parameter_value';
    end;
    if jsonb_typeof(json) <> 'object' then
        raise exception 'the new body is a JSON %, an object is expected', jsonb_typeof(json) using errcode = 'invalid_parameter_value';
    end if;
    if letter.queue = 'inbox' then
        select i.body into strict old_body from order_worker.inbox i where i.day = letter.day and i.id = letter.id;
        update order_worker.inbox i
        set body = new_body, order_id = order_worker.order_text(json ->> 'order_id'), payment_id = json ->> 'payment_id'
        where i.day = letter.day and i.id = letter.id;
        update order_worker.pending p set key = coalesce(order_worker.order_text(json ->> 'order_id'), '') where p.id = letter.id;
    else
        select convert_to(o.body::text, 'UTF8'), o.order_id into strict old_body, belongs_to
        from order_worker.outbox o where o.day = letter.day and o.id = letter.id;
        if letter.queue = 'dapr' and json ->> 'order_id' is distinct from belongs_to then
            raise exception 'the new body is about order %, the announcement about %', coalesce(json ->> 'order_id', '(none)'), belongs_to
                using errcode = 'check_violation';
        end if;
        update order_worker.outbox o set body = json where o.day = letter.day and o.id = letter.id;
        update order_worker.outbox_keys k set body_hash = sha256(convert_to(json::text, 'UTF8')) where k.id = letter.id
            and k.event_id = (select o.event_id from order_worker.outbox o where o.day = letter.day and o.id = letter.id);
    end if;
    insert into order_worker.edits (queue, id, edited_by, reason, old_body) values (letter.queue, letter.id, actor, reason, old_body);
    insert into order_worker.decisions (id, day, actor, verb, reason) values (letter.id, letter.day, actor, 'edit', reason);
    -- Another edition: who has the one before in hand settles it no more.
    update order_worker.pending p
    set state = 'ready', attempts = 0, due = clock_timestamp(), edition = nextval('order_worker.journal_id')
    where p.id = letter.id;
    return letter.queue;
end $$;

-- Gives an event that came without data the body that it was published with: the journals are not the runtime role's to change. True:
-- it has it now; false: it came without data, and somebody has decided about it; null: it came with another body.
create or replace function order_worker.complete_event(
    event_key bytea, new_body bytea, new_fingerprint bytea, new_order_id text, new_payment_id text, new_state text, reason text
) returns boolean
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    known order_worker.inbox_keys;
begin
    select * into known from order_worker.inbox_keys k where k.key = event_key for update;
    if not found or known.fingerprint <> sha256('\x0000000000000000'::bytea) then
        return null;
    end if;
    perform from order_worker.pending p where p.id = known.id for update;
    if not order_worker.waits_for_data(known) then
        return false;
    end if;
    update order_worker.inbox_keys k set fingerprint = new_fingerprint where k.key = event_key;
    update order_worker.inbox i
    set body = new_body, fingerprint = new_fingerprint, order_id = order_worker.order_text(new_order_id), payment_id = new_payment_id
    from order_worker.pending p
    where p.id = known.id and i.day = p.day and i.id = p.id;
    update order_worker.pending p
    set state = new_state, key = coalesce(order_worker.order_text(new_order_id), ''), last_error = reason, due = clock_timestamp()
    where p.id = known.id;
    return true;
end $$;

-- Functions that write shared tables run by the search path of their caller, as every statement of the owner's does: the triggers of these
-- tables may name what they use without its schema. (What the functions themselves name has its schema.)
do $$
declare
    f regprocedure;
begin
    for f in select p.oid::regprocedure from pg_proc p
             where p.pronamespace = 'order_worker'::regnamespace and p.prokind = 'f' and not p.prosecdef
               and exists (select from unnest(p.proconfig) c where c like 'search_path=%') loop
        execute format('alter function %s reset search_path', f);
    end loop;
end $$;
