-- inbox/accept: stores events that are new, with what is to be done about them. One statement, one transaction. The keys come
-- sorted, so that two of these wait for each other in one order only. A subject is named as its table has it. Returns the keys that
-- were new.
with event as (
    select key, fingerprint, topic, source, event_id, event_type, order_worker.subject_text(subject) as subject, reference, headers,
           traceparent, body, state, reason
    from unnest($1::bytea[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                         $9::text[], $10::text[], $11::bytea[], $12::text[], $13::text[])
        as t (key, fingerprint, topic, source, event_id, event_type, subject, reference, headers, traceparent, body, state, reason)
), fresh as (
    insert into order_worker.inbox_keys (key, fingerprint)
    select key, fingerprint from event order by key
    on conflict do nothing
    returning key, id, day
), journal as (
    insert into order_worker.inbox
        (day, id, key, topic, source, event_id, event_type, subject, reference, headers, traceparent, body, fingerprint)
    select day, id, key, topic, source, event_id, event_type, subject, reference, headers::jsonb, traceparent, body, fingerprint
    from fresh join event using (key)
), incident as (
    insert into order_worker.incident_journal (kind, subject, cause, detail)
    select 'same_id_other_body', subject, encode(key, 'hex'), reason
    from fresh join event using (key) where state = 'quarantined'
), queued as (
    -- The inbox has one lane: its events are legal in any order.
    insert into order_worker.pending (queue, id, day, lane, key, state, last_error)
    select 'inbox', id, day, 0, coalesce(subject, ''), state, reason from fresh join event using (key)
)
select key from fresh
