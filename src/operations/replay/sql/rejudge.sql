-- replay/rejudge: how settled events end by today's code. In one transaction with what follows from that.
select order_worker.rejudge($1::bigint[], $2::date[], $3::text[], $4::text[], $5)
