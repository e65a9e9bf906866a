-- Money and stock are never silent: two more kinds of incidents, each refused reservation an incident of its own, one warehouse call
-- for each reservation of an order, and a request that comes again with other arguments is an error. An event that Dapr delivered
-- without its data gets it from elsewhere.

-- Incidents -----------------------------------------------------------------------------------------------------------------

alter table order_worker.incident_journal
    drop constraint incident_journal_kind_check,
    add constraint incident_journal_kind_check check (kind in (
        'paid_cancelled', 'paid_twice', 'amount_mismatch', 'paid_unreserved', 'not_released', 'unknown_status',
        'same_id_other_body')),
    -- The reservation that it is about; null where it is not about one. One cause may be refused several of them.
    add column reservation_id text,
    drop constraint incident_journal_kind_order_id_cause_key,
    -- The same cause tells the same incident once.
    add constraint incident_journal_once unique nulls not distinct (kind, order_id, cause, reservation_id);

-- What a payment was told of, so that the same payment with other money does not pass unseen; null of one that is older than these columns.
alter table order_worker.payment_facts add column amount numeric, add column currency text;

-- Requests ------------------------------------------------------------------------------------------------------------------

-- What a request said beyond what makes the id of its announcement; null of an announcement that is no request's, or is older than
-- this column.
alter table order_worker.outbox_keys add column arguments bytea;

-- Whether this cause has made this announcement: what it stands for is done, and whoever does not know how its COMMIT ended may ask
-- again. With other arguments it is an error: one of the two would be swallowed.
create function order_worker.is_asked_again(cause text, topic text, order_id text, variant text, arguments text[]) returns boolean
    language plpgsql stable set search_path = pg_catalog, pg_temp
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
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    update order_worker.outbox_keys k set arguments = sha256(convert_to(to_jsonb(remember_arguments.arguments)::text, 'UTF8'))
    where k.event_id = order_worker.event_id(cause, 'dapr', topic, order_id, variant);
end $$;

create or replace function order_worker.change_order(order_id text, new_status text, reason text, notes text, cause text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    topic constant text := 'orders.order.status_changed';
begin
    perform from public.orders o where o.id = change_order.order_id for no key update;
    if order_worker.is_asked_again(cause, topic, order_id, new_status, array[reason, notes]) then
        return;
    end if;
    perform order_worker.change_orders(
        array[order_id], array[new_status], array[reason], array[notes], array[cause], array[null::text],
        array[null::timestamptz]);
    perform order_worker.remember_arguments(cause, topic, order_id, new_status, array[reason, notes]);
end $$;

create or replace function order_worker.confirm_order(order_id text, notes text, cause text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    reason constant text := 'Confirmed by hand';
begin
    perform order_worker.lock_order(order_id);
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
    locked public.orders := order_worker.lock_order(order_id);
begin
    if not (locked.status = 'pending' and upper(locked.payment_method) = 'COD') then
        perform order_worker.change_order(order_id, 'delivered', 'Delivered', notes, cause);
    end if;
    update public.orders o set delivered = true, updated_at = clock_timestamp() where o.id = locked.id and not o.delivered;
end $$;

create or replace function order_worker.cancel_order(order_id text, reason text, cause text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform order_worker.lock_order(order_id);
    if order_worker.is_asked_again(cause, 'orders.order.status_changed', order_id, 'cancelled', array[reason, null]) then
        return;
    end if;
    perform order_worker.change_order(order_id, 'cancelled', reason, null, cause);
    perform order_worker.call_warehouse(
        order_id, 'ReleaseReservation', array['reserved', 'confirming', 'confirmed'], reason, cause);
end $$;

create or replace function order_worker.request_goods(kind text, return_id text, order_id text, wanted jsonb, reason text, cause text)
    returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    locked public.orders := order_worker.lock_order(order_id);
    topic text := format('order.%s.requested', kind);
    wrong record;
    made order_worker.returns;
begin
    if order_worker.is_asked_again(cause, topic, order_id, return_id, array[wanted::text, reason]) then
        return;
    end if;
    if not locked.delivered and locked.status <> 'delivered' then
        raise exception 'order % is %: goods come back from a delivered order', order_id, locked.status
            using errcode = 'check_violation';
    end if;
    if jsonb_typeof(wanted) is distinct from 'array' or jsonb_array_length(wanted) = 0 then
        raise exception 'the items of % % are a list of one or more', kind, return_id using errcode = 'invalid_parameter_value';
    end if;
    select w.order_item_id, w.quantity, i.quantity as ordered, coalesce(back.quantity, 0) as back into wrong
    from (
        select t.order_item_id, sum(t.quantity) as quantity, bool_and(t.quantity > 0) as positive
        from jsonb_to_recordset(wanted) t (order_item_id bigint, quantity integer) group by t.order_item_id
    ) w
    left join public.order_items i on i.id = w.order_item_id and i.order_id = locked.id
    left join lateral (
        select sum((x ->> 'quantity')::integer) as quantity
        from order_worker.returns r cross join jsonb_array_elements(r.items) x
        where r.order_id = locked.id and r.status <> 'rejected' and (x ->> 'order_item_id')::bigint = w.order_item_id
    ) back on true
    where i.id is null or w.positive is not true or w.quantity + coalesce(back.quantity, 0) > i.quantity
    limit 1;
    if found then
        raise exception '% % wants % of item %: order % has % of it, of which % came back already',
            kind, return_id, coalesce(wrong.quantity::text, 'nothing'), coalesce(wrong.order_item_id::text, '(none)'), order_id,
            coalesce(wrong.ordered, 0), wrong.back
            using errcode = 'check_violation';
    end if;
    insert into order_worker.returns (id, kind, order_id, status, items, reason)
    select return_id, kind, locked.id, 'requested',
           jsonb_agg(jsonb_build_object('order_item_id', t.order_item_id, 'sku', i.sku, 'quantity', t.quantity) order by t.n), reason
    from rows from (jsonb_to_recordset(wanted) as (order_item_id bigint, quantity integer)) with ordinality
         as t (order_item_id, quantity, n)
    join public.order_items i on i.id = t.order_item_id
    returning * into made;
    perform order_worker.announce_return(made, cause);
    perform order_worker.remember_arguments(cause, topic, order_id, return_id, array[wanted::text, reason]);
end $$;

create or replace function order_worker.move_goods(kind text, return_id text, new_status text, reason text, cause text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
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

drop function order_worker.is_return_announced(text, text, text, text, text);

-- The warehouse -------------------------------------------------------------------------------------------------------------

-- What the warehouse is to be asked about an order's reservations: the items' intent, and one call for each reservation, however many
-- items share it. A reservation is never confirmed once any of its items was released or refused. The caller holds the lock on the
-- order. `order_item_id`, the first of the items, is for workers of the version before.
create or replace function order_worker.call_warehouse(order_id text, method text, statuses text[], reason text, cause text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    intent text := case method when 'ConfirmReservation' then 'confirming' else 'releasing' end;
    items bigint[];
    reservations text[];
    calls integer;
begin
    with intended as (
        update public.order_items i set reservation_status = intent
        where i.order_id = call_warehouse.order_id and i.reservation_id <> ''
          and coalesce(i.reservation_status, 'reserved') = any(statuses)
          and not (method = 'ConfirmReservation' and exists (
              select from public.order_items other
              where other.order_id = i.order_id and other.reservation_id = i.reservation_id
                and other.reservation_status in ('releasing', 'released', 'refused')))
        returning i.id, i.reservation_id
    ), reservation as (
        select reservation_id, min(id) as item_id from intended group by reservation_id
    )
    select array_agg(item_id order by item_id), array_agg(reservation_id order by item_id), count(*) into items, reservations, calls
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

-- Events without data -------------------------------------------------------------------------------------------------------

-- Whether an event came without data and waits for it: nobody has decided about it or given it another body. Its fingerprint is that
-- of no bytes at all (src/inbox/event.rs).
create function order_worker.waits_for_data(k order_worker.inbox_keys) returns boolean
    language sql stable
    return k.fingerprint = sha256('\x0000000000000000'::bytea) and exists (
        select from order_worker.pending p
        cross join lateral (select i.body from order_worker.inbox i where i.day = p.day and i.id = p.id offset 0) i
        where p.id = k.id and p.queue = 'inbox' and i.body = ''::bytea);

-- Gives an event that came without data the body that it was published with: the journals are not the runtime role's to change. True:
-- it has it now; false: it came without data, and somebody has decided about it; null: it came with another body.
create function order_worker.complete_event(
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
    set body = new_body, fingerprint = new_fingerprint, order_id = new_order_id, payment_id = new_payment_id
    from order_worker.pending p
    where p.id = known.id and i.day = p.day and i.id = p.id;
    update order_worker.pending p
    set state = new_state, key = coalesce(new_order_id, ''), last_error = reason, due = clock_timestamp()
    where p.id = known.id;
    return true;
end $$;
