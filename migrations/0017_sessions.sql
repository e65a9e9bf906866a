-- A job's registration is a lease: how long it is sure that a worker is there which runs it by this schedule, or keeps it disabled. When
-- it has run out, a worker that runs it otherwise registers it anew. Null: nobody has said so yet.
alter table order_worker.cron_jobs add column registered_until timestamptz;

-- Whether it is sure that somebody is there: a time that no worker can have written is a clock's that was wrong.
create function order_worker.is_registered(until timestamptz, lease float8) returns boolean
    language sql stable
begin atomic
    select coalesce(until > clock_timestamp() and until < clock_timestamp() + 2 * lease * interval '1 second', false);
end;
