//! The console by plain HTTP: who is let in, who may change what, and that every page stands on the same data as the commands.

use rig::callback::Event;
use rig::http::{Answer, exchange};
use rig::payment::CONFIRMED;
use rig::ports;
use rig::process::{Process, Spec};
use rig::run_dir::RunDir;
use rig::wait;
use rig::worker::Worker;

use crate::commands::Desk;
use crate::main_path::WORKER;
use crate::scene::{SOON, confirmation};

/// A worker with a console, and a browser's worth of cookies.
pub struct Site {
    pub desk: Desk,
    _worker: Worker,
    pub callback: rig::callback::Callback,
    pub port: u16,
}

/// Somebody who looks at it.
pub struct Person<'s> {
    pub site: &'s Site,
    pub cookie: String,
    pub more: Vec<(&'static str, &'static str)>,
}

impl Site {
    pub async fn start(name: &str, settings: &[(&str, &str)]) -> Site {
        let mut desk = Desk::start(name).await;
        desk.shop.place(&["o1", "o2", "o3"].map(str::to_owned)).await;
        let port = ports::free();
        let mut spec = desk.direct.worker.clone().env("ORDER_WORKER_CONSOLE_ENABLED", true);
        spec = spec.env("ORDER_WORKER_CONSOLE_ADDR", format!("127.0.0.1:{port}"));
        for (name, value) in settings {
            spec = spec.env(name, value);
        }
        desk.direct.worker = spec;
        let (worker, callback) = desk.direct.worker().await;
        wait::until("the console", SOON, async || exchange(port, "GET", "/login", &[], "").await.is_ok()).await;
        Site { desk, _worker: worker, callback, port }
    }

    pub fn somebody(&self) -> Person<'_> {
        Person { site: self, cookie: String::new(), more: Vec::new() }
    }

    /// Somebody before the login form, with its token.
    pub async fn at_the_door(&self) -> (Person<'_>, String) {
        let mut person = self.somebody();
        let form = person.get("/login").await;
        person.cookie = form.headers["set-cookie"].split(';').next().unwrap().to_owned();
        (person, token(&form.body))
    }

    pub async fn login(&self, name: &str, password: &str) -> (u16, Person<'_>) {
        let (mut person, csrf) = self.at_the_door().await;
        let answer = person.post("/login", &format!("name={name}&password={password}&csrf={csrf}")).await;
        if let Some(cookie) = answer.headers.get("set-cookie") {
            assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
            person.cookie = cookie.split(';').next().unwrap().to_owned();
        }
        (answer.status, person)
    }
}

impl Person<'_> {
    pub async fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut headers = vec![("cookie", self.cookie.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        headers.extend(self.more.iter().copied());
        exchange(self.site.port, method, path, &headers, body).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "").await
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, body).await
    }

    /// The token of the forms on a page.
    pub async fn csrf(&self) -> String {
        token(&self.get("/").await.body)
    }
}

/// The token of the first form.
pub fn token(page: &str) -> String {
    page.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned()
}

pub const PAGES: [&str; 10] =
    ["/", "/inbox", "/outbox", "/dead", "/waiting", "/incidents", "/cron", "/replays", "/audit", "/order?id=o1"];

pub async fn hash(password: &str) -> String {
    let command = async {
        let mut child = tokio::process::Command::new(WORKER)
            .args(["console", "hash-password"])
            .env_clear()
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut child.stdin.take().unwrap(), format!("{password}\n").as_bytes())
            .await
            .unwrap();
        child.wait_with_output().await.unwrap()
    };
    let output = command.await;
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub async fn with_users(name: &str) -> Site {
    let users = format!("ada:operator:{} vic:viewer:{}", hash("ada-secret").await, hash("vic-secret").await);
    Site::start(
        name,
        &[
            ("ORDER_WORKER_CONSOLE_USERS", &users),
            ("ORDER_WORKER_INBOX_WAITFORORDER", "0s"),
            ("ORDER_WORKER_INBOX_AMOUNTMISMATCH", "hold"),
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_person_is_decided_on_its_page() {
    let site = with_users("console_decides").await;
    let mut little = rig::payment::confirmed("p-held", "o2", "10.10");
    little.amount = rig::payment::amount("10.09");
    site.callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    site.desk.shop.settled(SOON).await;
    site.callback.event(&confirmation("e2", "p2", "o1")).await.unwrap();
    site.callback.event(&Event::new(CONFIRMED, "e-held", rig::payment::json(&little))).await.unwrap();
    site.callback.event(&confirmation("e-late", "p-late", "late")).await.unwrap();
    site.callback.event(&Event::new(CONFIRMED, "e-bad", b"nonsense".to_vec())).await.unwrap();
    let waits = "select count(*) from order_worker.pending where state in ('dead', 'held')";
    wait::until("three to wait", SOON, async || site.desk.shop.count(waits).await == 3).await;
    let (_, ada) = site.login("ada", "ada-secret").await;
    let csrf = ada.csrf().await;

    let waiting = ada.get("/waiting").await.body;
    let held: String = waiting.split("/waiting/").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    assert!(ada.get(&format!("/waiting/{held}")).await.body.contains("Handle it"));
    let decided = ada.post("/waiting/decide", &format!("id={held}&accept=yes&reason=a+discount&csrf={csrf}")).await;
    assert_eq!(decided.status, 303, "{}", decided.body);

    // A frozen selection: the rows that were shown, and no other.
    let groups = ada.get("/dead").await.body;
    assert!(groups.contains("did not appear"), "{groups}");
    let selection = ada.get("/dead/selection?queue=inbox&because=did+not+appear").await.body;
    let ids = selection.split("name=\"ids\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(ids.split(' ').count(), 1);
    site.desk.shop.place_one("late").await;
    assert_eq!(ada.post("/dead/redrive", &format!("ids={ids}&reason=it+is+there&csrf={csrf}")).await.status, 303);
    wait::until("the late one", SOON, async || site.desk.shop.status("late").await == "payment_confirmed").await;
    let rest = ada.get("/dead/selection?queue=inbox").await.body;
    let ids = rest.split("name=\"ids\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(ada.post("/dead/skip", &format!("ids={ids}&reason=a+test&csrf={csrf}")).await.status, 303);
    site.desk.shop.settled(SOON).await;
    assert_eq!(site.desk.shop.count(waits).await, 0);

    let incidents = ada.get("/incidents").await.body;
    let id: String = incidents.split("/incidents/").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    assert!(ada.get(&format!("/incidents/{id}")).await.body.contains("what to do"));
    assert_eq!(ada.post("/incidents/resolve", &format!("id={id}&reason=refunded&csrf={csrf}")).await.status, 303);
    assert!(!ada.get("/incidents").await.body.contains(&format!("/incidents/{id}\"")));
    let audited = site.desk.audited().await;
    assert_eq!(audited.len(), 4, "{audited:?}");
    assert!(audited.iter().all(|line| line.starts_with("ada (console) ")), "{audited:?}");
    assert!(ada.get("/audit").await.body.contains("dead redrive"));

    // One announcement again, under its first id.
    let outbox = ada.get("/outbox?order=o1&topic=orders.order.status_changed").await.body;
    let id: String = outbox.split("/outbox/").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    let before = site.desk.direct.sidecar.published();
    assert_eq!(ada.post("/outbox/resend", &format!("id={id}&reason=lost&csrf={csrf}")).await.status, 303);
    wait::until("it to be sent again", SOON, async || site.desk.direct.sidecar.count() == before.len() + 1).await;
    let again = site.desk.direct.sidecar.published().pop().unwrap();
    assert!(before.iter().any(|one| one.event_id() == again.event_id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_dead_rows_are_chosen_at_once_seen_and_cancelled() {
    let site = with_users("console_bulk").await;
    let shop = &site.desk.shop;
    let orders: Vec<_> = (0..700).map(|n| format!("many-{n}")).collect();
    for order in &orders {
        let event = confirmation(&format!("e-{order}"), &format!("p-{order}"), order);
        site.callback.event(&event).await.unwrap();
    }
    let dead = "select count(*) from order_worker.pending where state = 'dead'";
    wait::until("all to be dead", SOON, async || shop.count(dead).await == 700).await;
    let (_, ada) = site.login("ada", "ada-secret").await;
    let csrf = ada.csrf().await;
    let selection = ada.get("/dead/selection?queue=inbox&because=did+not+appear").await.body;
    assert!(selection.contains("700 dead rows of inbox, as they are now, the first 200 shown"), "{selection}");
    let ids = selection.split("name=\"ids\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(ids.split(' ').count(), 700);

    // Asked for while nothing can run, it would wait for somebody to remember the pause.
    site.desk.says(&["queue", "pause", "cron", "--reason", "a look"]).await;
    let form = format!("ids={}&reason=they+are+there&csrf={csrf}", ids.replace(' ', "+"));
    let refused = ada.post("/dead/redrive", &form).await;
    assert!(refused.status == 409 && refused.body.contains("cron is paused by ada"), "{}", refused.body);
    site.desk.says(&["queue", "resume", "cron", "--reason", "seen"]).await;

    shop.place(&orders).await;
    assert_eq!(ada.post("/dead/redrive", &form).await.status, 303);
    wait::until("its end on the page", SOON, async || {
        let page = ada.get("/dead").await.body;
        page.contains("700 of 700 looked at") && page.contains("succeeded")
    })
    .await;
    shop.settled(SOON).await;
    assert_eq!(
        shop.count("select count(*) from orders where status = 'payment_confirmed' and id like 'many-%'").await,
        700
    );

    // One that waits for a worker is cancelled on the page.
    site.desk.says(&["queue", "pause", "cron", "--reason", "a look"]).await;
    let asked = "with run as (insert into order_worker.cron_runs (job, tick, kind, request) values ('dead_letters', clock_timestamp(), 'manual',
                     '{\"verb\": \"skip\", \"rows\": 1, \"actor\": \"ada\", \"reason\": \"\"}') returning id)
                 insert into order_worker.pending (queue, id, day, lane, key) select 'cron', id, order_worker.today(), 0, 'dead_letters' from run";
    shop.execute(asked).await;
    let page = ada.get("/dead").await.body;
    let run: String =
        page.split("name=\"run\" value=\"").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    let cancel = format!("run={run}&reason=the+wrong+ones&csrf={csrf}");
    assert_eq!(ada.post("/cron/cancel", &cancel).await.status, 303);
    assert!(ada.get("/dead").await.body.contains("cancelled by ada (console): the wrong ones"));
    assert_eq!(ada.post("/cron/cancel", &cancel).await.status, 409);
    assert_eq!(shop.count("select count(*) from order_worker.pending").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_tells_how_much_goes_through() {
    let site = Site::start("console_rates", &[]).await;
    let person = site.somebody();
    let rate = async |name: &str| -> Option<f64> {
        let page = person.get("/").await.body;
        let cell = page.split(&format!("<td>{name}")).nth(1)?.split("<td>").nth(1)?;
        cell.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect::<String>().parse().ok()
    };
    wait::until("the second look", SOON, async || rate("events accepted").await.is_some()).await;
    for n in 0..60 {
        site.callback.event(&confirmation(&format!("e{n}"), &format!("p{n}"), "o1")).await.unwrap();
    }
    for name in ["events accepted", "events settled"] {
        wait::until(name, SOON, async || rate(name).await.is_some_and(|rate| rate > 0.9)).await;
    }
    assert!(rate("messages sent").await.is_some_and(|rate| rate < 0.9), "one order was announced once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_rehearsed_and_asked_for_on_its_page() {
    let site = with_users("console_replay").await;
    site.desk.shop.execute("update orders set status = 'cancelled' where id = 'o1'").await;
    site.callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    site.desk.shop.settled(SOON).await;
    site.desk.shop.execute("update orders set status = 'pending' where id = 'o1'").await;
    let (_, ada) = site.login("ada", "ada-secret").await;
    let page = ada.get("/replays/rehearse?since=1h").await.body;
    for words in [
        "1 would end otherwise",
        "- payment confirmed: rejected",
        "+ orders.status payment_confirmed",
        "order-worker inbox replay --since &#39;1h&#39; --dry-run",
    ] {
        assert!(page.contains(words) || page.contains(&words.replace('+', "&#43;")), "{words}: {page}");
    }
    assert_eq!(site.desk.shop.status("o1").await, "pending");
    let until = page
        .split("name=\"until\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .replace("&#43;", "%2B")
        .replace('+', "%2B");
    let csrf = ada.csrf().await;
    let form = format!(
        "since=1h&outcome=&order=&because=&until={until}&canary=50%25&stop_after=1&rate=&reason=wrong+code&csrf={csrf}"
    );
    let asked = ada.post("/replays/ask", &form).await;
    assert_eq!(asked.status, 303, "{}", asked.body);
    wait::until("the replay", SOON, async || site.desk.shop.status("o1").await == "payment_confirmed").await;
    wait::until("its end", SOON, async || ada.get("/replays").await.body.contains("succeeded")).await;
    assert_eq!(site.desk.audited().await.last().unwrap().split(" replay").next().unwrap(), "ada (console) inbox");
    assert_eq!(ada.get("/replays/rehearse").await.status, 400);
    assert_eq!(ada.post("/replays/ask", &form.replace("50%25", "half")).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_hang_take_no_connection_from_the_events() {
    let site = Site::start("console_hangs", &[]).await;
    let mut tx = site.desk.shop.pool.begin().await.unwrap();
    sqlx::query("lock table order_worker.audit_log in access exclusive mode").execute(&mut *tx).await.unwrap();
    // More than the worker has connections.
    let pages = (0..20).map(|_| exchange(site.port, "GET", "/audit", &[], ""));
    let pages = tokio::spawn(futures::future::join_all(pages.collect::<Vec<_>>()));
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%audit_log%'";
    wait::until("pages to hang", SOON, async || site.desk.shop.count(waiting).await > 0).await;
    let answer = site.callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    assert_eq!(answer, rig::callback::Answer::Success);
    wait::until("the payment", SOON, async || site.desk.shop.status("o1").await == "payment_confirmed").await;
    tx.rollback().await.unwrap();
    pages.await.unwrap();
    assert_eq!(site.somebody().get("/audit").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_runs_without_a_worker() {
    let desk = Desk::start("console_alone").await;
    let port = ports::free();
    let dir = RunDir::new("console");
    let mut spec = Spec::new("console", WORKER.as_ref(), dir.path(), ["console"]);
    let addr = format!("127.0.0.1:{port}");
    spec.env = [
        ("DATABASE_URL", desk.direct.worker.database_url.clone()),
        ("ORDER_WORKER_CONSOLE_ADDR", addr.clone()),
        ("ORDER_WORKER_CONSOLE_USERS", format!("ada:operator:{}", hash("ada-secret").await)),
        // The console has this port already.
        ("ORDER_WORKER_BOARD_ADDR", addr.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let console = Process::spawn(spec);
    let up = async || exchange(port, "GET", "/login", &[], "").await.is_ok_and(|answer| answer.status == 200);
    wait::until("the console", SOON, up).await;
    let form = exchange(port, "GET", "/login", &[], "").await.unwrap();
    let cookie = form.headers["set-cookie"].split(';').next().unwrap();
    let headers = [("cookie", cookie), ("content-type", "application/x-www-form-urlencoded")];
    let try_it = async |password: &str| {
        let body = format!("name=ada&password={password}&csrf={}", token(&form.body));
        exchange(port, "POST", "/login", &headers, &body).await.unwrap()
    };
    assert_eq!(try_it("wrong-secret").await.status, 401);
    let cookie = try_it("ada-secret").await.headers["set-cookie"].split(';').next().unwrap().to_owned();
    let page = exchange(port, "GET", "/", &[("cookie", &cookie)], "").await.unwrap().body;
    assert!(page.contains("No worker is alive."), "{page}");
    console.terminate();
    assert!(console.wait_exit(SOON).await.success());
    let told = console.log();
    let opened = format!("Console opened: http://{addr}");
    for words in [opened.as_str(), "Board not opened", "a login failed", "logged in as operator"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!told.contains("ada-secret") && !told.contains("wrong-secret"), "{told}");
}
