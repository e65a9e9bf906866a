//! Every command of docs/runbook.md, run on a database in which it has something to do.

use rig::callback::Event;
use rig::payment::{CONFIRMED, amount, confirmed, json};
use rig::wait;
use sqlx::Row;

use crate::commands::Desk;
use crate::scene::{SOON, confirmation};

const RUNBOOK: &str = include_str!("../../docs/runbook.md");

/// The lines of the page's blocks of a language, in its order.
fn lines_of(language: &str) -> Vec<&'static str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in RUNBOOK.lines() {
        if let Some(of) = line.strip_prefix("```") {
            inside = of == language;
        } else if inside {
            lines.push(line);
        }
    }
    lines
}

/// As a shell would: words, and what stands in single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (n, part) in line.split('\'').enumerate() {
        if n % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// From here on worker and commands have the least rights: no command of an operator needs more.
async fn as_runtime_role(desk: &mut Desk) {
    desk.shop.execute("create role runbook_worker login").await;
    let owner = desk.direct.worker.database_url.clone();
    let worker = owner.replace("//postgres@", "//runbook_worker@");
    assert_ne!(owner, worker);
    let env = [("MIGRATE_DATABASE_URL", owner.as_str()), ("DATABASE_URL", worker.as_str())];
    let migrated = rig::worker::run(crate::main_path::WORKER, &["migrate"], &env).await;
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    desk.direct.worker.database_url = worker;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_does_what_the_page_says() {
    let mut desk = Desk::start("runbook").await;
    let redis = rig::redis::Redis::start().await;
    desk.redis_addr = redis.addr();
    // Who it is says each command by itself.
    desk.operator = String::new();
    // As a sidecar leaves it when it subscribes.
    for stream in ["payment.confirmed", "payment.failed", "order-worker.dead-letter"] {
        let group =
            redis::cmd("XGROUP").arg("CREATE").arg(stream).arg("order-worker").arg("0").arg("MKSTREAM").to_owned();
        group.query_async::<()>(&mut redis.connect().await.unwrap()).await.unwrap();
    }
    as_runtime_role(&mut desk).await;
    desk.shop.place(&["o1", "o2", "o3"].map(str::to_owned)).await;
    desk.direct.worker = desk
        .direct
        .worker
        .clone()
        .env("ORDER_WORKER_INBOX_WAITFORORDER", "0s")
        .env("ORDER_WORKER_INBOX_AMOUNTMISMATCH", "hold");
    let (worker, callback) = desk.direct.worker().await;
    let (_, subscriptions) = worker.get("/dapr/subscribe").await.unwrap();
    assert_eq!(lines_of("json"), [subscriptions]);
    let undecodable = |id: &str| Event::new(CONFIRMED, id, b"nonsense".to_vec());
    let mut little = confirmed("p-little", "o2", "10.10");
    little.amount = amount("10.09");
    callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    desk.shop.settled(SOON).await;
    // Paid twice, the same id with another body, two that cannot be read, one whose order is missing, one that is held.
    callback.event(&confirmation("e2", "p2", "o1")).await.unwrap();
    callback.event(&confirmation("e1", "p3", "o2")).await.unwrap();
    for id in ["e-edit", "e-skip"] {
        callback.event(&undecodable(id)).await.unwrap();
    }
    callback.event(&confirmation("e-late", "p-late", "late")).await.unwrap();
    callback.event(&Event::new(CONFIRMED, "e-held", json(&little))).await.unwrap();
    let waits = "select count(*) from order_worker.pending where state in ('dead', 'held', 'quarantined')";
    wait::until("all of it to wait", SOON, async || desk.shop.count(waits).await == 5).await;

    let row = async |event: &str, state: &str| -> String {
        let sql = "select i.id::text from order_worker.inbox i join order_worker.pending p on p.id = i.id where i.event_id = $1 and p.state = $2";
        sqlx::query_scalar(sql).bind(event).bind(state).fetch_one(&desk.shop.pool).await.unwrap()
    };
    let body = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(body.path(), json(&confirmed("p-edit", "o3", "10.10"))).unwrap();
    let body = body.path().to_str().unwrap().to_owned();
    let mut run = 0;
    for command in lines_of("sh") {
        let mut args = words(command);
        assert_eq!(args.remove(0), "order-worker", "{command}");
        // What waited for an order is tried again once that is there.
        if command.starts_with("order-worker dead redrive")
            && desk.shop.count("select count(*) from orders where id = 'late'").await == 0
        {
            desk.shop.place_one("late").await;
        }
        if command.starts_with("order-worker outbox redrive") {
            // One that goes nowhere.
            let stuck = "select order_worker.announce('nobody.reads', 'o1', '{\"order_id\": \"o1\"}', 'stuck');
                         update order_worker.pending set state = 'waiting', due = now() + interval '50 minutes', last_error = 'not allowed'
                         where id = (select id from order_worker.outbox where topic = 'nobody.reads')";
            desk.shop.execute(stuck).await;
        }
        let target = match args.iter().take(2).map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["dead", "edit"] => row("e-edit", "dead").await,
            ["dead", "skip"] => row("e-skip", "dead").await,
            ["quarantine", "resolve"] => row("e1", "quarantined").await,
            ["inbox", "approve"] => row("e-held", "held").await,
            _ => String::new(),
        };
        for arg in &mut args {
            match arg.as_str() {
                "ROW" => arg.clone_from(&target),
                "NAME" => *arg = "ada".to_owned(),
                "WAITING" => {
                    let stuck = "select id from order_worker.outbox where topic = 'nobody.reads'";
                    *arg = desk.shop.count(stuck).await.to_string();
                }
                "EVENT" => *arg = "e1".to_owned(),
                "ORDER" => *arg = "o1".to_owned(),
                "INCIDENT" => {
                    *arg = desk
                        .shop
                        .count("select min(id) from order_worker.incident_journal where kind = 'paid_twice'")
                        .await
                        .to_string()
                }
                "body.json" => arg.clone_from(&body),
                _ => {}
            }
        }
        let (code, stdout, stderr) = desk.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).await;
        // The doctor finds no Redis and no warehouse here, and says so.
        let expected = if command == "order-worker doctor" { 3 } else { 0 };
        assert_eq!(code, expected, "{command}\n{stdout}{stderr}");
        assert!(!stdout.is_empty(), "{command}");
        run += 1;
        if !command.contains("--dry-run") {
            desk.shop.settled(SOON).await;
        }
    }
    assert!(run > 68, "{run} commands");
    assert_eq!(desk.shop.count(waits).await, 0, "whatever waited is decided");
    assert_eq!(desk.shop.status("late").await, "payment_confirmed");
    assert_eq!(
        desk.shop.count("select count(*) from order_worker.incident_journal where resolved_at is null").await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_a_transaction_open_is_found_and_ended_as_the_page_says() {
    let desk = Desk::start("runbook_sql").await;
    let mut other = desk.shop.pool.acquire().await.unwrap();
    let begin = "begin isolation level repeatable read; select count(*) from orders";
    sqlx::raw_sql(begin).execute(&mut *other).await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *other).await.unwrap();

    let statements = lines_of("sql").join("\n");
    let mut found = Vec::new();
    for statement in statements.split_inclusive(';') {
        let sql = statement.replace("PID", &pid.to_string());
        let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).fetch_all(&desk.shop.pool).await;
        found.push(rows.expect(statement));
    }
    assert_eq!(found.len(), 4, "{statements}");
    assert!(found[0].iter().any(|row| row.get::<i32, _>("pid") == pid), "the first names it");
    let gone = async || sqlx::raw_sql("select 1").execute(&mut *other).await.is_err();
    wait::until("its session to end", SOON, gone).await;
}
