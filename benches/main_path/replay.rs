//! `make bench-replay`: how fast a rehearsal of a replay and the proof go through the inbox, and how much memory they take.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use rig::stack::Direct;
use sqlx::PgPool;

/// Events in the inbox: the memory is to be the same for both.
const EVENTS: [usize; 2] = [100_000, 500_000];

pub async fn bench() -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(["", "events", "events/s", "peak MB"]);
    for events in EVENTS {
        let direct = Direct::start("replay", crate::WORKER).await;
        fill(&direct.worker.database_url, events).await;
        for arguments in
            [&["inbox", "replay", "--since", "1d", "--dry-run", "-o", "json"][..], &["audit", "-o", "json"]]
        {
            let (took, megabytes) = run(&direct.worker.database_url, arguments);
            let rate = events as f64 / took.as_secs_f64();
            let name =
                arguments.iter().take_while(|argument| **argument != "-o").copied().collect::<Vec<_>>().join(" ");
            table.add_row([name, events.to_string(), format!("{rate:.0}"), megabytes.to_string()]);
        }
    }
    table
}

/// Applied events with their orders and announcements; one in a hundred was rejected instead.
async fn fill(database_url: &str, events: usize) {
    let pool = PgPool::connect(database_url).await.unwrap();
    let n = i32::try_from(events).unwrap();
    for sql in [
        "insert into orders (id, order_number, status, payment_method, currency, total_amount)
         select 'o' || n, 'N' || n, case when n % 100 = 0 then 'pending' else 'payment_confirmed' end, 'CARD', 'USD', 10.10
         from generate_series(1, $1) n",
        "insert into order_worker.inbox_keys (key, fingerprint, id)
         select sha256(('e' || n)::bytea), sha256(''), n from generate_series(1, $1) n",
        r#"insert into order_worker.inbox (day, id, key, topic, source, event_id, event_type, subject, reference, headers, body, fingerprint)
         select k.day, k.id, k.key, 'payment.confirmed', 'payment-service', 'e' || id, 'com.dapr.event.sent', 'o' || id, 'p' || id, '{}',
                convert_to(format('{"event_type":"payment.confirmed","payment_id":"p%s","order_id":"o%s","amount":10.10,"currency":"USD","status":"confirmed","timestamp":"2026-01-01T00:00:00Z"}', id, id), 'UTF8'),
                k.fingerprint
         from order_worker.inbox_keys k where k.id <= $1"#,
        "insert into order_worker.inbox_outcomes (day, id, outcome)
         select day, id, case when id % 100 = 0 then 'rejected' else 'applied' end from order_worker.inbox where id <= $1",
        "insert into order_worker.outbox_keys (event_id, body_hash, id, day)
         select order_worker.event_id(encode(key, 'hex'), 'dapr', 'orders.order.status_changed', subject, 'payment_confirmed'), sha256(''), id, day
         from order_worker.inbox where id % 100 <> 0 and id <= $1",
    ] {
        sqlx::query(sql).bind(n).execute(&pool).await.unwrap();
    }
    sqlx::raw_sql("analyze").execute(&pool).await.unwrap();
}

/// The time that it takes, and the most memory that its process has had.
fn run(database_url: &str, arguments: &[&str]) -> (Duration, u64) {
    let began = Instant::now();
    let mut command = Command::new(crate::WORKER);
    let mut child = command.args(arguments).env("DATABASE_URL", database_url).stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        if let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", child.id())) {
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
            peak = peak.max(kilobytes.unwrap_or(0));
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
    (began.elapsed(), peak / 1024)
}
