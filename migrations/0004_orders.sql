-- What the worker knows of orders beyond the shared tables.

-- The status machine of src/orders/status.rs as rows, for change_orders(): a test holds the two against each other.
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
    -- The inbox key that told it, in hexadecimal.
    cause       text not null,
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (order_id, payment_id, kind)
);

-- What a person has to look at. Read through the view order_worker.incidents.
create table order_worker.incident_journal (
    id          bigint generated always as identity primary key,
    kind        text not null check (kind in (
        'paid_cancelled', 'paid_twice', 'amount_mismatch', 'paid_unreserved', 'same_id_other_body')),
    order_id    text,
    cause       text not null,
    detail      text not null,
    opened_at   timestamptz not null default clock_timestamp(),
    resolved_at timestamptz,
    resolved_by text,
    -- The same cause tells the same incident once.
    unique nulls not distinct (kind, order_id, cause)
);
create index incident_journal_open on order_worker.incident_journal (kind) where resolved_at is null;
