//! `make bench-purge`: what a purge of a million sessions and carts costs the events beside it.

use std::time::{Duration, Instant};

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use rig::callback::Callback;
use rig::stack::Direct;
use rig::wait;
use rig::worker::Worker;
use sqlx::PgPool;

use crate::direct::{PACE, run};
use crate::figures::{Figures, Turn, milliseconds};
use crate::orders::{Reservations, names, place};

/// Sessions, and as many carts with an item each.
const ROWS: usize = 500_000;
/// Payments beside it: 10 s of them.
const PAYMENTS: usize = 10 * PACE;
const LIMIT: Duration = Duration::from_secs(600);

/// Turns of quiet and purge, and the table of their medians.
pub async fn bench(rounds: usize) -> Table {
    let mut figures = [Figures::new("payments alone"), Figures::new("payments beside the purge")];
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        figures[0].add(turn(0).await);
        figures[1].add(turn(ROWS).await);
    }
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(["", "p50 ms", "p99 ms", "p99 ratio"]);
    let alone = figures[0].p99();
    for one in &figures {
        let ratio = one.p99().as_secs_f64() / alone.as_secs_f64();
        table.add_row([one.name().to_owned(), milliseconds(one.p50()), milliseconds(one.p99()), format!("{ratio:.2}")]);
    }
    table
}

async fn turn(rows: usize) -> Turn {
    let direct = Direct::start("purge", crate::WORKER).await;
    let orders = names("o", PAYMENTS);
    place(&direct.worker.database_url, &orders, Reservations::One).await;
    let pool = PgPool::connect(&direct.worker.database_url).await.unwrap();
    let old = "with s as (insert into sessions select 's' || n, null, now() - interval '30 days' from generate_series(1, $1) n),
                    c as (insert into carts select 'c' || n, null, false, now() - interval '30 days' from generate_series(1, $1) n
                          returning id)
               insert into cart_items select id, 'SKU-1', 1 from c";
    sqlx::query(old).bind(i32::try_from(rows).unwrap()).execute(&pool).await.unwrap();
    // What writing them leaves behind is not the purge's.
    for settle in ["vacuum (analyze) sessions, carts, cart_items", "checkpoint"] {
        sqlx::raw_sql(settle).execute(&pool).await.unwrap();
    }
    let mut spec = crate::with_settings(&direct.worker);
    if rows > 0 {
        for job in ["SESSIONCLEANUP", "CARTCLEANUP"] {
            spec = spec.env(&format!("ORDER_WORKER_CRON_{job}_SCHEDULE"), "* * * * * *");
        }
    }
    let worker = Worker::start(spec).await;
    let left = async || -> i64 {
        let left = "select (select count(*) from sessions) + (select count(*) from carts)";
        sqlx::query_scalar(left).fetch_one(&pool).await.unwrap()
    };
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (sent, published) = run(&direct, &Callback::new(worker.eventbus_port()), &orders, Some(PACE)).await;
    if rows > 0 {
        assert!(left().await > 0, "the purge was over before the payments were");
        wait::until("the purge to end", LIMIT, async || left().await == 0).await;
        eprintln!("  {} rows purged in {:.0} s", 2 * rows, began.elapsed().as_secs_f64());
    }
    Turn::new(PAYMENTS, sent.span(&published), &sent.until(&published))
}
