-- queue/drained: whether a live worker takes rows from a queue; one of a version that does not say so may. No lease lasts for longer
-- than ten minutes: one far in the future was written under another clock.
select exists (
    select from order_worker.workers
    where lease_until > clock_timestamp() and lease_until < clock_timestamp() + interval '11 minutes'
      and (drains is null or $1 = any(drains)))
