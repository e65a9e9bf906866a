-- queue/share: gives back the lanes of $3 (drained before), takes free ones up to a fair share of 64. Returns the share and the
-- lanes that are mine after it.
with live as (
    select greatest(count(*), 1) as workers from order_worker.workers where queue = $1 and lease_until > clock_timestamp()
), fair as (
    select ((64 + workers - 1) / workers)::integer as share from live
), given as (
    update order_worker.lanes set owner = null where queue = $1 and owner = $2 and lane = any($3) returning lane
), mine as (
    select lane from order_worker.lanes where queue = $1 and owner = $2 and not lane = any($3)
), free as (
    select lane from order_worker.lanes
    where queue = $1 and owner is null and not lane = any($3)
    order by lane
    limit greatest(0, (select share from fair) - (select count(*) from mine))
    for update skip locked
), taken as (
    update order_worker.lanes l set owner = $2 from free where l.queue = $1 and l.lane = free.lane returning l.lane
)
select (select share from fair) as share,
       coalesce((select array_agg(lane order by lane) from (select lane from mine union select lane from taken) m), '{}') as lanes
