//! Three replicas with schedules of seconds, killed all the time, on a Postgres that crashes: each tick once, each effect once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rig::postgres::Postgres;
use rig::sidecar::Sidecar;
use rig::stack::Direct;
use rig::warehouse::Warehouse;
use rig::worker::{Worker, WorkerSpec, migrate};

use crate::cron::every_second;
use crate::main_path::WORKER;
use crate::scene::{SOON, short_leases};
use crate::shop::Shop;

/// How long it goes on: `CHAOS_SECONDS`, or a minute.
fn lasts() -> Duration {
    Duration::from_secs(std::env::var("CHAOS_SECONDS").map_or(60, |seconds| seconds.parse().unwrap()))
}

/// Five things to do for every job, some in each second.
async fn work(shop: &Shop, round: usize) -> Result<(), sqlx::Error> {
    let names = |kind: &str| (0..5).map(|n| format!("{kind}-{round}-{n}")).collect::<Vec<_>>();
    let mut tx = shop.pool.begin().await?;
    for (kind, method, delivered, age) in
        [("cod", "COD", true, "1 minute"), ("unpaid", "CARD", false, "2 days"), ("waiting", "CARD", false, "1 hour")]
    {
        sqlx::query(
            "with placed as (
                 insert into orders (id, order_number, user_id, payment_method, delivered, currency, total_amount, created_at)
                 select id, 'N-' || id, 'u1', $2, $3, 'USD', 10.10, now() - $4::interval from unnest($1::text[]) id
                 returning id, created_at
             )
             insert into order_items (order_id, sku, quantity, reservation_id, reserved_at)
             select id, 'SKU-1', 1, 'res-' || id, created_at from placed",
        )
        .bind(names(kind))
        .bind(method)
        .bind(delivered)
        .bind(age)
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query("insert into sessions select id, null, now() - interval '2 days' from unnest($1::text[]) id")
        .bind(names("s"))
        .execute(&mut *tx)
        .await?;
    sqlx::query("insert into carts select id, null, false, now() - interval '8 days' from unnest($1::text[]) id")
        .bind(names("c"))
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_under_kills_and_crashes_run_each_tick_once() {
    let postgres = Postgres::start().await;
    let database_url = postgres.database("chaos").await;
    migrate(WORKER, &database_url).await;
    let direct = Direct {
        sidecar: Sidecar::start(),
        warehouse: Warehouse::start(),
        worker: WorkerSpec::new(WORKER, &database_url, 0),
    };
    let spec = WorkerSpec {
        mode: "cron".into(),
        dapr_grpc_port: direct.sidecar.grpc_port(),
        warehouse_addr: Some(direct.warehouse.addr()),
        ..every_second(short_leases(direct.worker.clone()))
    };
    let shop = Shop::open(&database_url).await;
    let replica = |n: usize| Worker::spawn(WorkerSpec { name: format!("replica-{n}"), ..spec.replica() });
    let workers: Vec<_> = (0..3).map(replica).collect();
    for worker in &workers {
        worker.wait_ready().await;
    }

    let (began, mut rounds, mut kills, mut crashes) = (Instant::now(), 0, 0, 0);
    let mut committed = BTreeSet::new();
    while began.elapsed() < lasts() || rounds < 30 {
        rounds += 1;
        if work(&shop, rounds).await.is_ok() {
            committed.insert(rounds);
        }
        tokio::time::sleep(Duration::from_millis(300 + 37 * (rounds as u64 % 11))).await;
        let victim = &workers[rounds % 3];
        victim.kill9();
        kills += 1;
        victim.restart_without_waiting();
        if rounds % 12 == 0 {
            postgres.restart_immediate().await;
            crashes += 1;
        }
    }
    for worker in &workers {
        worker.wait_ready().await;
    }
    // What was placed last is found by the next ticks.
    let open = "select (select count(*) from orders where status = 'pending' and (payment_method = 'COD' or created_at < now() - interval '1 day'))
                     + (select count(*) from order_items where reservation_status is null) + (select count(*) from sessions)
                     + (select count(*) from carts)";
    rig::wait::until("the jobs to finish", SOON, async || shop.count(open).await == 0).await;
    shop.execute("update order_worker.cron_jobs set next_tick = null").await;
    shop.settled(SOON).await;

    let gaps = "select count(*) from (
                    select coalesce(missed_from, tick) - lag(tick) over (partition by job order by tick) as gap from order_worker.cron_runs
                ) g where gap <> interval '1 second'";
    assert_eq!(shop.count(gaps).await, 0, "each tick has one run, or is counted by one");
    let unfinished = "select count(*) from order_worker.cron_runs where outcome is distinct from 'succeeded'";
    assert_eq!(shop.count(unfinished).await, 0);
    let overlaps = "select count(*) from order_worker.cron_runs a join order_worker.cron_runs b
                    on a.job = b.job and a.id < b.id and b.started_at < a.finished_at";
    assert_eq!(shop.count(overlaps).await, 0, "runs of a job do not overlap");

    let expected = |kind: &str| -> BTreeSet<String> {
        committed.iter().flat_map(|round| (0..5).map(move |n| format!("{kind}-{round}-{n}"))).collect()
    };
    let twice =
        "select count(*) from (select order_id from order_status_history group by order_id having count(*) > 1) t";
    assert_eq!(shop.count(twice).await, 0, "no order is confirmed or cancelled twice");
    let mut ids: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for published in direct.sidecar.published() {
        let body = published.json();
        let text = |key: &str| body[key].as_str().unwrap().to_owned();
        ids.entry((text("new_status"), text("order_id"))).or_default().insert(published.event_id().unwrap().to_owned());
    }
    assert!(ids.values().all(|ids| ids.len() == 1), "each announcement has one id");
    let announced = |status: &str| -> BTreeSet<String> {
        ids.keys().filter(|(new, _)| new == status).map(|(_, order)| order.clone()).collect()
    };
    // A commit whose answer was lost in a crash may be there as well.
    let known = |all: BTreeSet<String>| {
        all.into_iter().filter(|order| committed.contains(&round_of(order))).collect::<BTreeSet<_>>()
    };
    assert_eq!(known(announced("confirmed")), expected("cod"));
    assert_eq!(known(announced("cancelled")), expected("unpaid"));
    let reservations = |effects: BTreeMap<String, rig::warehouse::Effect>| -> Vec<String> {
        effects.into_values().map(|effect| effect.reservation_id.trim_start_matches("res-").to_owned()).collect()
    };
    let confirmed = reservations(direct.warehouse.confirmed());
    assert_eq!(known(confirmed.iter().cloned().collect()), expected("cod"));
    let released: BTreeSet<_> = reservations(direct.warehouse.released()).into_iter().collect();
    assert_eq!(known(released), expected("unpaid").union(&expected("waiting")).cloned().collect());
    assert!(kills > 20 && crashes >= 2, "{kills} kills, {crashes} crashes");
}

fn round_of(order: &str) -> usize {
    order.split('-').nth(1).unwrap().parse().unwrap()
}
