//! The commands that look at the database and change it: what they print, what they leave behind, how they end.

use rig::stack::Direct;
use rig::wait;
use rig::worker::{Worker, WorkerSpec, run};
use serde_json::Value;

use crate::cron::only;
use crate::main_path::WORKER;
use crate::scene::SOON;
use crate::shop::Shop;

/// A migrated database, and the program on it.
pub struct Desk {
    pub direct: Direct,
    pub shop: Shop,
    /// REDIS_ADDR of its commands.
    pub redis_addr: String,
    /// ORDER_WORKER_OPERATOR of its commands.
    pub operator: String,
}

impl Desk {
    pub async fn start(name: &str) -> Desk {
        let direct = Direct::start(name, WORKER).await;
        let shop = Shop::open(&direct.worker.database_url).await;
        Desk { direct, shop, redis_addr: String::new(), operator: "ada".into() }
    }

    /// Exit code, stdout and stderr.
    pub async fn run(&self, args: &[&str]) -> (i32, String, String) {
        let env = [
            ("DATABASE_URL", self.direct.worker.database_url.as_str()),
            ("REDIS_ADDR", &self.redis_addr),
            ("ORDER_WORKER_OPERATOR", &self.operator),
            // A machine that is busy with other tests is no outage.
            ("ORDER_WORKER_DATABASE_ACQUIRETIMEOUT", "30s"),
            // Of no account: nobody is named by them.
            ("USER", "root"),
            ("SUDO_USER", "somebody"),
            // Without a Redis there is no stream to wait for, as for the worker beside it.
            ("ORDER_WORKER_RECONCILE_ENABLED", if self.redis_addr.is_empty() { "false" } else { "true" }),
        ];
        let output = run(WORKER, args, &env).await;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Stdout of a command that has to succeed.
    #[track_caller]
    pub fn says(&self, args: &[&str]) -> impl Future<Output = String> {
        let place = std::panic::Location::caller();
        async move {
            let (code, stdout, stderr) = self.run(args).await;
            // By whose settings it was judged is said beside the result.
            let unasked: Vec<_> = stderr.lines().filter(|line| !line.starts_with("note: ")).collect();
            assert_eq!((code, unasked), (0, vec![]), "at {place}: {args:?}");
            stdout
        }
    }

    pub async fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.says(&[args, &["-o", "json"]].concat()).await).unwrap()
    }

    /// The audit log: action, target and reason.
    pub async fn audited(&self) -> Vec<String> {
        sqlx::query_scalar(
            "select concat_ws(' ', actor, action, target, detail ->> 'reason') from order_worker.audit_log order by id",
        )
        .fetch_all(&self.shop.pool)
        .await
        .unwrap()
    }
}

fn one<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|one| one[key] == name).unwrap()
}

const OLD: &str = "insert into sessions select 's' || lpad(n::text, 4, '0'), null, now() - interval '2 days' from generate_series(1, 1005) n";

#[tokio::test(flavor = "multi_thread")]
async fn a_job_can_be_rehearsed_and_run_by_hand_before_any_worker_ran() {
    let desk = Desk::start("by_hand").await;
    desk.shop.execute(OLD).await;
    let list = desk.json(&["cron", "list"]).await;
    assert_eq!(list.as_array().unwrap().len(), 5);
    assert_eq!(one(&list, "job", "session_cleanup")["schedule"], Value::Null);

    let would = desk.says(&["cron", "run", "session_cleanup", "--dry-run"]).await;
    let lines: Vec<_> = would.lines().collect();
    assert_eq!(
        (lines.len(), lines[0], lines[1004]),
        (1006, "would delete session s0001", "would delete session s1005")
    );
    assert_eq!(lines[1005], "session_cleanup: 1005 items, nothing was changed");
    let would = desk.json(&["cron", "run", "session_cleanup", "--dry-run"]).await;
    assert_eq!((would["items"].as_u64(), would["ids"].as_array().unwrap().len()), (Some(1005), 1005));
    assert_eq!(desk.shop.count("select count(*) from sessions").await, 1005);
    assert_eq!(desk.shop.count("select count(*) from order_worker.cron_runs").await, 0);
    assert_eq!(desk.audited().await, [""; 0]);

    let (code, _, stderr) = desk.run(&["cron", "run", "session_cleanup"]).await;
    assert!(
        code == 1 && stderr.contains("no worker that performs it is alive") && stderr.contains("--here"),
        "{stderr}"
    );
    let (code, _, stderr) = desk.run(&["cron", "run", "session_cleanup", "--here"]).await;
    assert!(code == 1 && stderr.contains("those of this shell would decide"), "{stderr}");
    assert!(stderr.contains("add --own-settings") && stderr.contains("sessions after 1440 min"), "{stderr}");
    assert_eq!(desk.audited().await, [""; 0], "nothing was asked for");

    let run = desk.json(&["cron", "run", "session_cleanup", "--here", "--own-settings"]).await;
    assert_eq!((&run["kind"], &run["outcome"], &run["items"]), (&"manual".into(), &"succeeded".into(), &1005.into()));
    assert_eq!(desk.shop.count("select count(*) from sessions").await, 0);
    assert_eq!(desk.audited().await, ["ada cron run session_cleanup"]);
    let history = desk.says(&["cron", "history", "session_cleanup"]).await;
    let lines: Vec<_> = history.lines().collect();
    assert!(lines[0].starts_with("RUN") && lines[1].contains("manual") && lines[1].contains("1005"), "{history}");
    let list = desk.says(&["cron", "list"]).await;
    assert!(list.lines().nth(1).unwrap().contains("0 * * * * UTC"), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rehearsal_names_is_what_a_run_changes() {
    let desk = Desk::start("rehearsed").await;
    desk.shop.place(&["old", "young", "cod"].map(str::to_owned)).await;
    desk.shop
        .execute(
            "update orders set created_at = now() - interval '2 days' where id <> 'young';
             update orders set payment_method = 'COD', delivered = true where id = 'cod'",
        )
        .await;
    let would = desk.says(&["cron", "run", "order_cleanup", "--dry-run"]).await;
    assert_eq!(would, "would cancel order old\norder_cleanup: 1 items, nothing was changed\n");
    let would = desk.says(&["cron", "run", "cod_auto_confirm", "--dry-run"]).await;
    assert_eq!(would, "would confirm order cod\ncod_auto_confirm: 1 items, nothing was changed\n");
    assert_eq!(desk.shop.count("select count(*) from order_worker.outbox").await, 0);
    desk.says(&["cron", "run", "order_cleanup", "--here", "--own-settings"]).await;
    desk.says(&["cron", "run", "cod_auto_confirm", "--here", "--own-settings"]).await;
    for (order, status) in [("old", "cancelled"), ("young", "pending"), ("cod", "confirmed")] {
        assert_eq!(desk.shop.status(order).await, status, "{order}");
    }
    assert_eq!(desk.shop.count("select count(*) from order_worker.outbox where channel = 'dapr'").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_job_runs_no_tick_until_it_is_resumed_and_then_one_for_all() {
    let desk = Desk::start("paused_job").await;
    let spec = WorkerSpec { mode: "cron".into(), ..desk.direct.worker.clone() };
    let _worker = Worker::start(only(spec, &["session_cleanup"], "* * * * * *")).await;
    let runs = "select count(*) from order_worker.cron_runs where outcome is not null";
    wait::until("a run", SOON, async || desk.shop.count(runs).await > 0).await;
    assert_eq!(
        desk.says(&["cron", "pause", "session_cleanup", "--reason", "a look", "--dry-run"]).await,
        "session_cleanup would be paused\n"
    );
    assert_eq!(
        desk.says(&["cron", "pause", "session_cleanup", "--reason", "to look at it"]).await,
        "session_cleanup is paused\n"
    );
    let again = desk.says(&["cron", "pause", "session_cleanup", "--reason", "again"]).await;
    assert!(again.starts_with("session_cleanup was paused already, at 20") && again.ends_with("by ada\n"), "{again}");
    let listed = desk.says(&["cron", "list"]).await;
    assert!(listed.lines().nth(1).unwrap().ends_with("by ada: to look at it"), "{listed}");
    let (code, _, stderr) = desk.run(&["cron", "run", "session_cleanup"]).await;
    assert_eq!(code, 1);
    assert!(
        stderr.contains("is paused") && stderr.contains("hint: order-worker cron resume session_cleanup"),
        "{stderr}"
    );

    // A run that was taken before may still be under way.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let under_way = "select count(*) from order_worker.cron_runs where started_at is not null and outcome is null";
    wait::until("the last run to end", SOON, async || desk.shop.count(under_way).await == 0).await;
    let before = desk.shop.count(runs).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(desk.shop.count(runs).await, before);
    assert_eq!(
        desk.says(&["cron", "resume", "session_cleanup", "--reason", "seen"]).await,
        "session_cleanup goes on\n"
    );
    assert_eq!(
        desk.says(&["cron", "resume", "session_cleanup", "--reason", "seen"]).await,
        "session_cleanup was not paused\n"
    );
    let caught_up = "select count(*) from order_worker.cron_runs where kind = 'caught_up' and missed >= 2";
    wait::until("the missed ticks", SOON, async || desk.shop.count(caught_up).await == 1).await;
    assert_eq!(
        desk.audited().await,
        ["ada cron pause session_cleanup to look at it", "ada cron resume session_cleanup seen"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_from_a_paused_queue() {
    let desk = Desk::start("paused_queue").await;
    desk.shop.place_one("o1").await;
    let (worker, callback) = desk.direct.worker().await;
    for queue in ["inbox", "warehouse"] {
        assert_eq!(desk.says(&["queue", "pause", queue, "--reason", "a look"]).await, format!("{queue} is paused\n"));
    }
    callback.event(&crate::scene::confirmation("e1", "p1", "o1")).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(desk.shop.status("o1").await, "pending");
    let list = desk.json(&["queue", "list"]).await;
    assert_eq!(one(&list, "queue", "inbox")["pending"], 1);
    assert_eq!(one(&list, "queue", "inbox")["paused_by"], "ada");
    let gauge = r#"order_worker_queue_paused{queue="inbox"}"#;
    wait::until("the gauge", SOON, async || worker.metrics().await.get(gauge) == Some(&1.0)).await;

    desk.says(&["queue", "resume", "inbox", "--reason", "seen"]).await;
    wait::until("the payment", SOON, async || desk.shop.status("o1").await == "payment_confirmed").await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(desk.direct.warehouse.calls().is_empty(), "the warehouse is paused still");
    desk.says(&["queue", "resume", "warehouse", "--reason", "seen"]).await;
    wait::until("the call", SOON, async || desk.direct.warehouse.calls().len() == 1).await;
    let (code, _, stderr) = desk.run(&["queue", "pause", "warehous", "--reason", "a look"]).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("inbox, dapr, warehouse, cron") && stderr.contains("did you mean warehouse?"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_of_the_audit_log_carries_the_hash_of_the_one_before() {
    let desk = Desk::start("audited").await;
    for _ in 0..3 {
        desk.says(&["queue", "pause", "dapr", "--reason", "a look"]).await;
        desk.says(&["queue", "resume", "dapr", "--reason", "seen"]).await;
    }
    let broken = "select count(*) from (
                      select hash, order_worker.audit_hash(l) as computed, previous, lag(hash) over (order by id) as before
                      from order_worker.audit_log l
                  ) c where hash <> computed or previous <> coalesce(before, decode(repeat('00', 32), 'hex'))";
    assert_eq!(desk.shop.count("select count(*) from order_worker.audit_log").await, 6);
    assert_eq!(desk.shop.count(broken).await, 0);
    desk.shop.execute("update order_worker.audit_log set actor = 'nobody' where id = 3").await;
    assert_eq!(desk.shop.count(broken).await, 1);
}
