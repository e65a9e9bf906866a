-- The other door: what the API pod does to an order, as functions. Each checks the machine, writes history and announcement in the
-- caller's transaction, and does so once for a cause. The library order_worker::life calls these.

-- What the warehouse is to be asked about an order's reservations: the items' intent, and a call each. The caller holds the lock
-- on the order.
create function order_worker.call_warehouse(order_id text, method text, statuses text[], reason text, cause text) returns void
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
        where i.order_id = call_warehouse.order_id and i.reservation_id is not null
          and coalesce(i.reservation_status, 'reserved') = any(statuses)
        returning i.id, i.reservation_id
    )
    select array_agg(id order by id), array_agg(reservation_id order by id), count(*) into items, reservations, calls
    from intended;
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

-- Locks an order and gives it back, or fails: no such order.
create function order_worker.lock_order(order_id text) returns public.orders
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    locked public.orders;
begin
    select * into locked from public.orders o where o.id = lock_order.order_id for no key update;
    if not found then
        raise exception 'order % does not exist', order_id using errcode = 'foreign_key_violation';
    end if;
    return locked;
end $$;

-- Confirmed by hand: a paid order, or a pending one that needs no payment first. What is still reserved becomes a sale.
create function order_worker.confirm_order(order_id text, notes text, cause text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform order_worker.lock_order(order_id);
    if order_worker.is_announced(cause, order_id, 'confirmed') then
        return;
    end if;
    perform order_worker.change_order(order_id, 'confirmed', 'Confirmed by hand', notes, cause);
    perform order_worker.call_warehouse(order_id, 'ConfirmReservation', array['reserved'], 'Confirmed by hand', cause);
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
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    locked public.orders := order_worker.lock_order(order_id);
begin
    if locked.status = 'delivered' and order_worker.is_announced(cause, order_id, 'delivered') then
        return;
    end if;
    if not (locked.status = 'pending' and upper(locked.payment_method) = 'COD') then
        perform order_worker.change_order(order_id, 'delivered', 'Delivered', notes, cause);
    end if;
    update public.orders o set delivered = true, updated_at = clock_timestamp() where o.id = locked.id and not o.delivered;
end $$;

-- Cancelled by a person, in any status before it is shipped. All goods go back to the stock, those that were sold already too.
create function order_worker.cancel_order(order_id text, reason text, cause text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform order_worker.lock_order(order_id);
    if order_worker.is_announced(cause, order_id, 'cancelled') then
        return;
    end if;
    perform order_worker.change_order(order_id, 'cancelled', reason, null, cause);
    perform order_worker.call_warehouse(
        order_id, 'ReleaseReservation', array['reserved', 'confirming', 'confirmed'], reason, cause);
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
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    about text := format('order.%s.%s', it.kind, it.status);
    number text;
begin
    select o.order_number into number from public.orders o where o.id = it.order_id;
    perform order_worker.announce(about, it.order_id, jsonb_strip_nulls(jsonb_build_object(
        'event_type', about, it.kind || '_id', it.id, 'order_id', it.order_id, 'order_number', number,
        'status', it.status, 'items', it.items, 'reason', it.reason,
        'timestamp', to_char(it.changed_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))), cause);
end $$;

-- Whether this cause has announced this of the return or exchange.
create function order_worker.is_return_announced(kind text, return_id text, order_id text, status text, cause text) returns boolean
    language sql stable
begin atomic
    select exists (
        select from order_worker.outbox_keys k
        where k.event_id = order_worker.event_id(cause, 'dapr', format('order.%s.%s', kind, status), order_id, return_id));
end;

-- A customer wants to send goods of a delivered order back, or others for them. `wanted`: [{"order_item_id": 1, "quantity": 1}];
-- no more than was ordered, all returns and exchanges that were not rejected together.
create function order_worker.request_goods(kind text, return_id text, order_id text, wanted jsonb, reason text, cause text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    locked public.orders := order_worker.lock_order(order_id);
    wrong record;
    made order_worker.returns;
begin
    if order_worker.is_return_announced(kind, return_id, order_id, 'requested', cause) then
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
end $$;

-- The next step of a return or an exchange.
create function order_worker.move_goods(kind text, return_id text, new_status text, reason text, cause text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    it order_worker.returns;
begin
    select * into it from order_worker.returns r where r.id = return_id and r.kind = move_goods.kind;
    if not found then
        raise exception '% % does not exist', kind, return_id using errcode = 'foreign_key_violation';
    end if;
    -- The order first, as everybody.
    perform order_worker.lock_order(it.order_id);
    select * into it from order_worker.returns r where r.id = return_id for update;
    if order_worker.is_return_announced(kind, return_id, it.order_id, new_status, cause) then
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
