-- reconcile/cannot_look: these streams cannot be looked at, for the reason $2; said where no replica has looked for $3 seconds. What was
-- lost stays what is said.
insert into order_worker.stream_cursors as c (stream, alert, alert_kind) select stream, $2, 'cannot_look' from unnest($1::text[]) stream
on conflict (stream) do update set alert = excluded.alert, alert_kind = excluded.alert_kind
where c.alert_kind is distinct from 'lost' and c.alert is distinct from excluded.alert
  and (c.read_at is null or c.read_at not between clock_timestamp() - $3::float8 * interval '1 second' and clock_timestamp())
