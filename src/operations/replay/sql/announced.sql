-- replay/announced: of these announcements' ids, those that were announced.
select event_id::text from order_worker.outbox_keys where event_id = any($1::text[]::uuid[])
