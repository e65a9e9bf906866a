-- The shop: what the worker does to orders, and what the order service asks it to do. The worker, its library and the order service all
-- come through these functions, so that
--   each status change has exactly one history row and one announcement, in its own transaction;
--   an announcement has the same id however often its cause comes back;
--   the announcements of one order get their ids in the order in which its changes commit (its row is locked first).
-- Functions that write shared tables run by the search path of their caller, as every statement of the owner's does: the triggers of these
-- tables may name what they use without its schema. (What the functions themselves name has its schema.)

-- Announcements are published through Dapr; the warehouse is called.
select order_worker.declare_channels('dapr', 'warehouse');

-- What is known of orders -------------------------------------------------------------------------------------------------

-- The status machine as rows, for change_orders(): a test holds them against the worker's own.
create table order_worker.legal_moves (
    old_status text not null,
    new_status text not null,
    primary key (old_status, new_status)
);
insert into order_worker.legal_moves values
    ('pending', 'payment_confirmed'), ('pending', 'payment_failed'), ('pending', 'confirmed'), ('pending', 'cancelled'),
    ('payment_failed', 'payment_confirmed'), ('payment_failed', 'cancelled'),
    ('payment_confirmed', 'confirmed'), ('payment_confirmed', 'cancelled'),
    ('confirmed', 'shipped'), ('confirmed', 'cancelled'),
    ('shipped', 'delivered');

-- What is known of an order's payments. A payment is told once, under whatever event id it comes.
create table order_worker.payment_facts (
    order_id    text not null,
    payment_id  text not null,
    kind        text not null check (kind in ('confirmed', 'failed')),
    -- So that the same payment with other money does not pass unseen; null where the event did not say it.
    amount      numeric,
    currency    text,
    -- The inbox key that told it, in hexadecimal.
    cause       text not null,
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (order_id, payment_id, kind)
);

-- Money that was given back. A refund is told once, under whatever event id it comes.
create table order_worker.refund_facts (
    order_id    text not null,
    refund_id   text not null,
    payment_id  text not null,
    -- The inbox key that told it, in hexadecimal.
    cause       text not null,
    amount      numeric not null,
    currency    text not null,
    -- In the payment service's words; empty where it gives none.
    reason      text not null,
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (order_id, refund_id)
);

insert into order_worker.incident_kinds values
    ('refunded_alive'), ('refund_unknown'),
    ('paid_cancelled'), ('paid_twice'), ('amount_mismatch'), ('paid_unreserved'), ('not_released'), ('unknown_status');

-- Changes and announcements -----------------------------------------------------------------------------------------------

-- Locks an order and gives back what decides about it, or fails: no such order.
create function order_worker.lock_order(order_id text, out id text, out status text, out payment_method text, out delivered boolean)
    language plpgsql
as $$
begin
    select o.id::text, o.status, o.payment_method, o.delivered into lock_order.id, lock_order.status, lock_order.payment_method, lock_order.delivered
    from public.orders o where o.id = order_worker.order_key(lock_order.order_id) for no key update;
    if not found then
        raise exception 'order % does not exist', order_id using errcode = 'foreign_key_violation';
    end if;
end $$;

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
        select order_worker.subject_text(t.given) as id,
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
create function order_worker.change_orders(
    order_ids text[], new_statuses text[], reasons text[], notes text[], causes text[], traceparents text[],
    received_ats timestamptz[]
) returns integer
    language plpgsql set enable_seqscan = off set enable_mergejoin = off
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
        select distinct on (1) order_worker.subject_text(given) as order_id, new_status
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
create function order_worker.announce(topic text, order_id text, body jsonb, cause text) returns uuid
    language plpgsql
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

-- Requests --------------------------------------------------------------------------------------------------------------

-- Whether this cause has announced this status of the order: what it stands for is done, and whoever does not know how its COMMIT
-- ended may ask again.
create function order_worker.is_announced(cause text, order_id text, new_status text) returns boolean
    language sql stable
begin atomic
    select exists (
        select from order_worker.outbox_keys k
        where k.event_id = order_worker.event_id(cause, 'dapr', 'orders.order.status_changed', order_id, new_status));
end;

-- Whether this cause has made this announcement: what it stands for is done, and whoever does not know how its COMMIT ended may ask
-- again. With other arguments it is an error: one of the two would be swallowed.
create function order_worker.is_asked_again(cause text, topic text, order_id text, variant text, arguments text[]) returns boolean
    language plpgsql stable
as $$
declare
    known bytea;
begin
    select k.arguments into known from order_worker.outbox_keys k
    where k.event_id = order_worker.event_id(cause, 'dapr', topic, order_id, variant);
    if not found then
        return false;
    end if;
    if known <> sha256(convert_to(to_jsonb(arguments)::text, 'UTF8')) then
        raise exception 'cause % was given before for order %, to the same end (%), with other arguments', cause, order_id,
            concat_ws(' ', topic, variant)
            using errcode = 'unique_violation',
                  hint = format('cause %L stands for one request: give another cause, or the same arguments', cause);
    end if;
    return true;
end $$;

-- Notes what a request said, in the transaction that made its announcement.
create function order_worker.remember_arguments(cause text, topic text, order_id text, variant text, arguments text[]) returns void
    language plpgsql
as $$
begin
    update order_worker.outbox_keys k set arguments = sha256(convert_to(to_jsonb(remember_arguments.arguments)::text, 'UTF8'))
    where k.event_id = order_worker.event_id(cause, 'dapr', topic, order_id, variant);
end $$;

-- The life of an order ----------------------------------------------------------------------------------------------------
-- What the order service does to an order. Each function checks the machine, writes history and announcement in the caller's transaction,
-- and does so once for a cause. The worker's library calls these.

-- Announces an order that the caller's transaction has just inserted (as `pending`), writes its first history row, and wakes the
-- events that came before it. The same cause does so once.
create function order_worker.order_created(order_id text, cause text) returns void
    language plpgsql
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

-- One move of the status machine, for the API pod: confirmed by hand, shipped, delivered, cancelled. The same cause moves once.
create function order_worker.change_order(order_id text, new_status text, reason text, notes text, cause text) returns void
    language plpgsql
as $$
declare
    topic constant text := 'orders.order.status_changed';
begin
    order_id := order_worker.subject_text(order_id);
    perform from public.orders o where o.id = order_worker.order_key(change_order.order_id) for no key update;
    if order_worker.is_asked_again(cause, topic, order_id, new_status, array[reason, notes]) then
        return;
    end if;
    perform order_worker.change_orders(
        array[order_id], array[new_status], array[reason], array[notes], array[cause], array[null::text],
        array[null::timestamptz]);
    perform order_worker.remember_arguments(cause, topic, order_id, new_status, array[reason, notes]);
end $$;

-- Confirmed by hand: a paid order, or a pending one that needs no payment first. What is still reserved becomes a sale.
create function order_worker.confirm_order(order_id text, notes text, cause text) returns void
    language plpgsql
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

-- Handed to the carrier.
create function order_worker.ship_order(order_id text, notes text, cause text) returns void
    language sql
begin atomic
    select order_worker.change_order(order_id, 'shipped', 'Shipped', notes, cause);
end;

-- It reached the customer. An order that is paid on delivery is still pending then: it is marked, and the job cod_auto_confirm
-- confirms it.
create function order_worker.deliver_order(order_id text, notes text, cause text) returns void
    language plpgsql
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

-- Cancelled by a person, in any status before it is shipped. All goods go back to the stock, those that were sold already too.
create function order_worker.cancel_order(order_id text, reason text, cause text) returns void
    language plpgsql
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

-- The warehouse -----------------------------------------------------------------------------------------------------------

-- What the warehouse is to be asked about an order's reservations: the items' intent, and one call for each reservation, however many
-- items share it. A reservation is never confirmed once any of its items was released or refused. The caller holds the lock on the
-- order. `order_item_id` is the first of the items.
create function order_worker.call_warehouse(order_id text, method text, statuses text[], reason text, cause text) returns void
    language plpgsql
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

-- What a call that a person has given up leaves behind: an item that waits for no answer. Of a reservation that was not confirmed
-- nothing was asked; one that was not released is nobody's to release again.
create function order_worker.give_up_call(day date, id bigint) returns boolean
    language plpgsql
as $$
begin
    update public.order_items i
    set reservation_status = case b.topic when 'ConfirmReservation' then 'reserved' else 'released' end
    from order_worker.outbox b
    where b.day = give_up_call.day and b.id = give_up_call.id
      and i.order_id = order_worker.order_key(b.subject) and i.reservation_id = b.body ->> 'reservation_id'
      and i.reservation_status = case b.topic when 'ConfirmReservation' then 'confirming' else 'releasing' end;
    return true;
end $$;

-- Returns and exchanges ---------------------------------------------------------------------------------------------------

create table order_worker.returns (
    -- The caller's name for it; unique among returns and exchanges.
    id           text primary key check (id <> '' and length(id) <= 255),
    kind         text not null check (kind in ('return', 'exchange')),
    order_id     text not null,
    status       text not null check (status in ('requested', 'approved', 'rejected', 'completed')),
    -- [{"order_item_id": 1, "sku": "…", "quantity": 1}], as announced.
    items        jsonb not null check (jsonb_typeof(items) = 'array'),
    reason       text,
    requested_at timestamptz not null default clock_timestamp(),
    changed_at   timestamptz not null default clock_timestamp(),
    -- Nobody has announced that an exchange was refused, so none is.
    check (not (kind = 'exchange' and status = 'rejected'))
);
create index returns_order_id on order_worker.returns (order_id);

-- The machine of both: requested -> approved | rejected, approved -> completed; an exchange is never rejected.
create table order_worker.legal_return_moves (
    kind       text not null,
    old_status text not null,
    new_status text not null,
    primary key (kind, old_status, new_status)
);
insert into order_worker.legal_return_moves values
    ('return', 'requested', 'approved'), ('return', 'requested', 'rejected'), ('return', 'approved', 'completed'),
    ('exchange', 'requested', 'approved'), ('exchange', 'approved', 'completed');

-- Announces what a return or an exchange has come to: topic order.<kind>.<status>.
create function order_worker.announce_return(it order_worker.returns, cause text) returns void
    language plpgsql
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
create function order_worker.request_goods(kind text, return_id text, order_id text, wanted jsonb, reason text, cause text)
    returns void
    language plpgsql
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

-- The next step of a return or an exchange.
create function order_worker.move_goods(kind text, return_id text, new_status text, reason text, cause text) returns void
    language plpgsql
as $$
declare
    it order_worker.returns;
    topic text := format('order.%s.%s', kind, new_status);
begin
    select * into it from order_worker.returns r where r.id = return_id and r.kind = move_goods.kind;
    if not found then
        raise exception '% % does not exist', kind, return_id using errcode = 'foreign_key_violation';
    end if;
    -- The order first, as everybody.
    perform order_worker.lock_order(it.order_id);
    select * into it from order_worker.returns r where r.id = return_id for update;
    if order_worker.is_asked_again(cause, topic, it.order_id, return_id, array[reason]) then
        return;
    end if;
    if not exists (
        select from order_worker.legal_return_moves m
        where m.kind = it.kind and m.old_status = it.status and m.new_status = move_goods.new_status
    ) then
        raise exception '% % is %: it cannot become %', kind, return_id, it.status, new_status
            using errcode = 'check_violation', hint = 'the legal moves are in order_worker.legal_return_moves';
    end if;
    update order_worker.returns r
    set status = new_status, reason = coalesce(move_goods.reason, r.reason), changed_at = clock_timestamp()
    where r.id = return_id
    returning * into it;
    perform order_worker.announce_return(it, cause);
    perform order_worker.remember_arguments(cause, topic, it.order_id, return_id, array[move_goods.reason]);
end $$;

create function order_worker.request_return(return_id text, order_id text, items jsonb, reason text, cause text) returns void
    language sql
begin atomic
    select order_worker.request_goods('return', return_id, order_id, items, reason, cause);
end;

-- new_status: approved, rejected or completed.
create function order_worker.change_return(return_id text, new_status text, reason text, cause text) returns void
    language sql
begin atomic
    select order_worker.move_goods('return', return_id, new_status, reason, cause);
end;

create function order_worker.request_exchange(exchange_id text, order_id text, items jsonb, reason text, cause text) returns void
    language sql
begin atomic
    select order_worker.request_goods('exchange', exchange_id, order_id, items, reason, cause);
end;

-- new_status: approved or completed.
create function order_worker.change_exchange(exchange_id text, new_status text, reason text, cause text) returns void
    language sql
begin atomic
    select order_worker.move_goods('exchange', exchange_id, new_status, reason, cause);
end;

-- Sequences -------------------------------------------------------------------------------------------------------------

-- Sequences that stand behind the numbers of the rows that use them, as a logical restore leaves them: `last` was handed out, `needed`
-- is there. The rows of the journals are the newest by day.
create function order_worker.sequences_behind() returns table (sequence text, last bigint, needed bigint)
    language plpgsql stable
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
