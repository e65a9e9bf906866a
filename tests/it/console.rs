//! The console by plain HTTP: who is let in, who may change what, and that every page stands on the same data as the commands.

use std::time::Duration;

use rig::callback::Event;
use rig::http::{Answer, exchange};
use rig::payment::CONFIRMED;
use rig::ports;
use rig::process::{Process, Spec};
use rig::run_dir::RunDir;
use rig::wait;
use rig::worker::Worker;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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
struct Person<'s> {
    site: &'s Site,
    cookie: String,
    more: Vec<(&'static str, &'static str)>,
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

    fn somebody(&self) -> Person<'_> {
        Person { site: self, cookie: String::new(), more: Vec::new() }
    }

    /// Somebody before the login form, with its token.
    async fn at_the_door(&self) -> (Person<'_>, String) {
        let mut person = self.somebody();
        let form = person.get("/login").await;
        person.cookie = form.headers["set-cookie"].split(';').next().unwrap().to_owned();
        (person, token(&form.body))
    }

    async fn login(&self, name: &str, password: &str) -> (u16, Person<'_>) {
        let (mut person, csrf) = self.at_the_door().await;
        let answer = person.post("/login", &format!("name={name}&password={password}&csrf={csrf}")).await;
        if let Some(cookie) = answer.headers.get("set-cookie") {
            assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
            person.cookie = cookie.split(';').next().unwrap().to_owned();
        }
        (answer.status, person)
    }
}

impl Person<'_> {
    async fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut headers = vec![("cookie", self.cookie.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        headers.extend(self.more.iter().copied());
        exchange(self.site.port, method, path, &headers, body).await.unwrap()
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "").await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, body).await
    }

    /// The token of the forms on a page.
    async fn csrf(&self) -> String {
        token(&self.get("/").await.body)
    }
}

/// The token of the first form.
fn token(page: &str) -> String {
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
async fn with_no_users_everybody_on_this_machine_may_look_and_nobody_changes_anything() {
    let site = Site::start("console_open", &[]).await;
    site.callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    site.desk.shop.settled(SOON).await;
    let person = site.somebody();
    for path in PAGES {
        let page = person.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        let policy = &page.headers["content-security-policy"];
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
        assert!(page.body.contains("order-worker ") && !page.body.contains("<form class=\"action\""), "{path}");
        // Nothing of its own that the policy would stop, and nothing from elsewhere.
        for forbidden in ["style=\"", "onclick", "http://", "https://"] {
            assert!(!page.body.contains(forbidden), "{path}: {forbidden}");
        }
    }
    let story = person.get("/order?id=o1").await.body;
    for words in ["payment.confirmed e1", "pending -&gt; payment_confirmed", "applied", "sent"] {
        assert!(story.contains(words) || story.contains(&words.replace("-&gt;", "-&#62;")), "{words}: {story}");
    }
    assert!(person.get("/inbox?order=o1").await.body.contains(">e1<"));
    assert!(!person.get("/inbox?order=o2").await.body.contains(">e1<"));
    assert_eq!(person.post("/queues/pause", "queue=dapr&csrf=").await.status, 403);
    assert_eq!(site.desk.shop.count("select count(*) from order_worker.pauses").await, 0);
    // htmx asks for the sections alone.
    let fragment = exchange(site.port, "GET", "/", &[("hx-request", "true")], "").await.unwrap().body;
    assert!(fragment.contains("<section>") && !fragment.contains("<html"), "{fragment}");
    for asset in ["/assets/style.css", "/assets/htmx.min.js", "/assets/local-time.js"] {
        assert_eq!(person.get(asset).await.status, 200);
    }
    let elsewhere = exchange(site.port, "GET", "/", &[("host", "evil.example")], "").await.unwrap();
    assert_eq!(elsewhere.status, 421, "a name from elsewhere that points here");
    for (site_of, mode, status) in [
        ("cross-site", "no-cors", 403),
        ("same-site", "cors", 403),
        ("cross-site", "navigate", 200),
        ("none", "navigate", 200),
    ] {
        let headers = [("sec-fetch-site", site_of), ("sec-fetch-mode", mode)];
        let answer = exchange(site.port, "GET", "/replays/rehearse?since=1h", &headers, "").await.unwrap();
        assert_eq!(answer.status, status, "{site_of} {mode}");
    }
    assert_eq!(person.get("/inbox/99999").await.status, 404);
    assert_eq!(person.get("/inbox?since=yesterday").await.status, 400);
    assert_eq!(person.get("/nothing").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_in_may_look_and_only_operators_change() {
    let site = with_users("console_users").await;
    let nobody = site.somebody();
    for path in PAGES {
        let answer = nobody.get(path).await;
        assert_eq!((answer.status, answer.headers["location"].as_str()), (303, "/login"), "{path}");
    }
    assert_eq!(nobody.post("/queues/pause", "queue=dapr").await.status, 401);
    assert_eq!(site.login("ada", "wrong-secret").await.0, 401);
    assert_eq!(site.login("eve", "ada-secret").await.0, 401);

    let (status, vic) = site.login("vic", "vic-secret").await;
    assert_eq!(status, 303);
    for path in PAGES {
        let page = vic.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.body.contains("class=\"action\""), "a viewer has no buttons: {path}");
    }
    let csrf = vic.csrf().await;
    assert_eq!(vic.post("/queues/pause", &format!("queue=dapr&csrf={csrf}")).await.status, 403);

    let (_, ada) = site.login("ada", "ada-secret").await;
    assert_eq!(ada.post("/queues/pause", "queue=dapr&csrf=forged").await.status, 403);
    let csrf = ada.csrf().await;
    assert_eq!(ada.post("/queues/pause", &format!("queue=dapr&csrf={csrf}")).await.status, 303);
    assert_eq!(site.desk.shop.count("select count(*) from order_worker.pauses where queue = 'dapr'").await, 1);
    assert_eq!(site.desk.audited().await, ["ada (console) queue pause dapr"]);
    assert_eq!(ada.post("/queues/resume", &format!("queue=dapr&csrf={csrf}")).await.status, 303);
    assert_eq!(ada.post("/cron/run", &format!("job=cart_cleanup&csrf={csrf}")).await.status, 303);
    let ran = "select count(*) from order_worker.cron_runs where kind = 'manual' and outcome = 'succeeded'";
    wait::until("the job", SOON, async || site.desk.shop.count(ran).await == 1).await;
    let run = format!("job=cart_cleanup&csrf={csrf}");
    for (path, paused) in [("/cron/pause", 1), ("/cron/resume", 0)] {
        assert_eq!(ada.post(path, &format!("job=cart_cleanup&csrf={csrf}")).await.status, 303);
        assert_eq!(site.desk.shop.count("select count(*) from order_worker.pauses").await, paused);
        if paused == 1 {
            let refused = ada.post("/cron/run", &run).await;
            assert_eq!((refused.status, refused.body.contains("resume it first")), (409, true), "{}", refused.body);
        }
    }
    // The log page by page: each record once, the newest first.
    let record = "select order_worker.record('eve', 'test', n::text, '{}') from generate_series(1, 150) n";
    site.desk.shop.execute(record).await;
    let first = ada.get("/audit").await.body;
    let next = first.split("href=\"/audit?before=").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let second = ada.get(&format!("/audit?before={next}")).await.body;
    assert!(first.contains("<td>155") && !second.contains("<td>155"), "{first}");
    assert!(second.contains("queue pause") && !second.contains("/audit?before=") && !second.contains("hx-get"));
    assert_eq!(first.matches("<tr>").count() + second.matches("<tr>").count(), 155 + 2);
    assert_eq!(ada.get("/audit?before=x").await.status, 400);
    assert!(ada.get("/cron/history?job=cart_cleanup").await.body.contains("manual"));
    assert_eq!(ada.post("/logout", &format!("csrf={csrf}")).await.status, 303);
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
    assert!(refused.status == 409 && refused.body.contains("cron is paused by ada@desk"), "{}", refused.body);
    site.desk.says(&["queue", "resume", "cron"]).await;

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
async fn nobody_guesses_passwords() {
    let site = with_users("console_guesses").await;
    for _ in 0..10 {
        assert_eq!(site.login("ada", "guess-guess").await.0, 401);
    }
    assert_eq!(site.login("ada", "ada-secret").await.0, 429, "even the right one has to wait");
    // Whoever sits elsewhere does not wait for the one who guesses: the whole of 127.0.0.0/8 is this machine.
    let (person, csrf) = site.at_the_door().await;
    let body = format!("name=ada&password=ada-secret&csrf={csrf}");
    let answer = from("127.0.0.2", site.port, &person.cookie, &body).await;
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
}

/// What `POST /login` of another address is answered.
async fn from(address: &str, port: u16, cookie: &str, body: &str) -> String {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(format!("127.0.0.1:{port}").parse().unwrap()).await.unwrap();
    let head = "POST /login HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded";
    let request = format!("{head}\r\ncookie: {cookie}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_all_at_once_are_counted_like_guesses_one_by_one() {
    let site = with_users("console_at_once").await;
    let logins = (0..40).map(|_| site.login("ada", "guess-guess"));
    let answers: Vec<u16> = futures::future::join_all(logins).await.into_iter().map(|(status, _)| status).collect();
    let of = |status| answers.iter().filter(|one| **one == status).count();
    assert_eq!((of(401), of(429)), (10, 30), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_form_from_elsewhere_is_refused_and_a_session_that_ended_leads_to_the_login() {
    let site = with_users("console_door").await;
    let right = "name=ada&password=ada-secret";
    assert_eq!(site.somebody().post("/login", right).await.status, 403, "no form at all");
    let (_, other) = site.at_the_door().await;
    let (person, csrf) = site.at_the_door().await;
    assert_eq!(person.post("/login", &format!("{right}&csrf={other}")).await.status, 403, "somebody else's form");
    assert_eq!(person.post("/login", &format!("{right}&csrf={csrf}")).await.status, 303);
    // A live page asks for its sections: it is sent away as a whole, and gets no login form into its middle.
    let answer = exchange(site.port, "GET", "/", &[("hx-request", "true")], "").await.unwrap();
    assert_eq!((answer.status, answer.headers["hx-redirect"].as_str(), answer.body.as_str()), (401, "/login", ""));
    let (_, ada) = site.login("ada", "ada-secret").await;
    assert_eq!(ada.get("/login").await.headers["location"], "/", "who is in already");
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
async fn a_trusted_proxy_names_the_user() {
    let site = Site::start(
        "console_proxy",
        &[
            ("ORDER_WORKER_CONSOLE_USERHEADER", "x-forwarded-user"),
            ("ORDER_WORKER_CONSOLE_ROLEHEADER", "x-forwarded-role"),
        ],
    )
    .await;
    let mut ada = site.somebody();
    ada.more = vec![("x-forwarded-user", "ada"), ("x-forwarded-role", "operator")];
    let first = ada.get("/").await;
    ada.cookie = first.headers["set-cookie"].split(';').next().unwrap().to_owned();
    let csrf = ada.csrf().await;
    assert_eq!(ada.post("/queues/pause", &format!("queue=inbox&csrf={csrf}")).await.status, 303);
    assert_eq!(site.desk.audited().await, ["ada (console) queue pause inbox"]);
    let mut vic = site.somebody();
    vic.more = vec![("x-forwarded-user", "vic")];
    let page = vic.get("/").await;
    assert!(page.body.contains("vic (viewer)") && !page.body.contains("class=\"action\""), "{}", page.body);
    let stranger = site.somebody().get("/").await;
    assert_eq!(stranger.status, 401, "without the proxy nobody is let in, nor sent around in a circle");
    assert!(stranger.body.contains("x-forwarded-user"), "{}", stranger.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_taken_from_the_file_of_users_is_out_without_a_restart() {
    let dir = RunDir::new("users");
    let ada = format!("ada:operator:{}", hash("ada-secret").await);
    let vic = format!("vic:viewer:{}", hash("vic-secret").await);
    dir.write("users", &format!("{ada} {vic}\n"));
    let path = dir.path().join("users");
    let site = Site::start("console_file", &[("ORDER_WORKER_CONSOLE_USERS_FILE", path.to_str().unwrap())]).await;
    let ((_, ada_in), (_, vic_in)) = (site.login("ada", "ada-secret").await, site.login("vic", "vic-secret").await);
    assert_eq!((ada_in.get("/").await.status, vic_in.get("/").await.status), (200, 200));
    dir.write("users", &format!("{vic}\n"));
    wait::until("ada to be out", SOON, async || ada_in.get("/").await.status != 200).await;
    assert_eq!(site.login("ada", "ada-secret").await.0, 401);
    assert_eq!(vic_in.get("/").await.status, 200);
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
    wait::until("the console", Duration::from_secs(10), up).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn the_board_shows_true_numbers_and_single_rows_and_changes_nothing() {
    let board = ports::free();
    let users = format!("vic:viewer:{}", hash("vic-secret").await);
    let site = Site::start(
        "board",
        &[
            ("ORDER_WORKER_BOARD_ENABLED", "true"),
            ("ORDER_WORKER_BOARD_ADDR", &format!("127.0.0.1:{board}")),
            ("ORDER_WORKER_CONSOLE_USERS", &users),
            ("ORDER_WORKER_INBOX_WAITFORORDER", "0s"),
        ],
    )
    .await;
    site.callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    site.callback.event(&confirmation("e-late", "p-late", "late")).await.unwrap();
    site.desk.says(&["cron", "run", "cart_cleanup"]).await;
    site.desk.shop.settled(SOON).await;
    site.desk.shop.execute("insert into order_worker.pauses (queue, paused_by) values ('dapr', 'test')").await;
    site.desk.shop.execute("select order_worker.announce('order.return.requested', 'o2', '{}', 'r1')").await;

    let nobody = exchange(board, "GET", "/api/v1/queues", &[], "").await.unwrap();
    assert_eq!((nobody.status, nobody.headers["location"].as_str()), (303, "/login"));
    let (_, vic) = site.login("vic", "vic-secret").await;
    let ask = async |method: &str, path: &str| {
        exchange(board, method, path, &[("cookie", vic.cookie.as_str())], "").await.unwrap()
    };
    let json = async |path: &str| -> serde_json::Value {
        let answer = ask("GET", path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    };
    let queues = json("/api/v1/queues").await;
    let names: Vec<_> = queues.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
    for queue in ["inbox", "dapr", "warehouse", "cron"] {
        assert!(names.contains(&queue.to_owned()), "{names:?}");
    }
    let number = |stats: &serde_json::Value, title: &str| {
        let found = stats.as_array().unwrap().iter().find(|one| one["title"] == title).unwrap().clone();
        found["value"].as_str().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(number(&json("/api/v1/queues/dapr/stats").await, "PENDING_JOBS"), 1);
    assert_eq!(number(&json("/api/v1/queues/inbox/stats").await, "KILLED_JOBS"), 1);
    assert_eq!(number(&json("/api/v1/overview").await, "PENDING_JOBS"), 1);
    assert!(!json("/api/v1/workers").await.as_array().unwrap().is_empty());
    for (queue, status, rows) in [
        ("dapr", "Pending", 1),
        ("inbox", "Killed", 1),
        ("dapr", "Done", 1),
        ("cron", "Done", 1),
        ("warehouse", "Done", 1),
    ] {
        let tasks = json(&format!("/api/v1/queues/{queue}/tasks?status={status}&page=1&page_size=50")).await;
        assert_eq!(tasks.as_array().unwrap().len(), rows, "{queue} {status}: {tasks}");
    }
    let dead = site.desk.json(&["dead", "list", "--queue", "inbox"]).await[0]["id"].to_string();
    let one = json(&format!("/api/v1/queues/inbox/tasks/{dead}")).await;
    assert!(one.to_string().contains("did not appear"), "{one}");

    // What the board would allow by itself.
    for method in ["PUT", "POST", "DELETE"] {
        assert_eq!(ask(method, "/api/v1/queues/inbox/tasks").await.status, 405, "{method}");
    }
    for path in [
        "/api/v1/queues/inbox/tasks?page=0",
        "/api/v1/queues/inbox/tasks?page=4294967295&page_size=4294967295",
        "/api/v1/tasks?page=0&page_size=0",
    ] {
        assert_eq!(ask("GET", path).await.status, 200, "{path}");
    }
    for path in ["/api/v1/nothing", "/api/v1/queues/nothing/tasks", "/api/v1/queues/inbox/tasks/none"] {
        assert_eq!(ask("GET", path).await.status, 404, "{path}");
    }
    let page = ask("GET", "/").await;
    assert!(page.status == 200 && page.body.contains("<html"), "{}", page.body);
    for path in ["/", "/api/v1/queues", "/api/v1/nothing"] {
        let headers = ask("GET", path).await.headers;
        assert!(headers["content-security-policy"].contains("frame-ancestors 'none'"), "{path}: {headers:?}");
        assert_eq!((&*headers["x-content-type-options"], &*headers["x-frame-options"]), ("nosniff", "DENY"), "{path}");
    }
    assert_eq!(ask("POST", "/").await.headers["x-content-type-options"], "nosniff", "a refusal too");
    assert_eq!(site.desk.shop.count("select count(*) from order_worker.pending where queue = 'inbox'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_board_costs_what_it_shows_whatever_the_history() {
    let desk = Desk::start("board_history").await;
    desk.shop
        .execute(
            "insert into order_worker.inbox_outcomes (day, id, outcome)
             select order_worker.today() - (n < 100000)::integer, n, 'applied' from generate_series(1, 200000) n;
             insert into order_worker.outbox (day, id, event_id, channel, topic, order_id, body, cause)
             select order_worker.today(), n, gen_random_uuid(), 'dapr', 'topic', 'o', '{}', 'test' from generate_series(1, 100000) n;
             insert into order_worker.outbox_outcomes (day, id, outcome, attempts)
             select order_worker.today(), n, 'sent', 1 from generate_series(1, 100000) n;
             analyze order_worker.inbox_outcomes, order_worker.outbox, order_worker.outbox_outcomes",
        )
        .await;
    let explain =
        concat!("explain (analyze, buffers, timing off, format json) ", include_str!("../../src/board/sql/rows.sql"));
    for (queue, id) in [("inbox", None), ("dapr", None), ("inbox", Some(150_000_i64)), ("dapr", Some(50_000))] {
        let plan: serde_json::Value = sqlx::query_scalar(sqlx::AssertSqlSafe(explain))
            .bind([queue].as_slice())
            .bind("Done")
            .bind(id)
            .bind(50_i64)
            .bind(0_i64)
            .fetch_one(&desk.shop.pool)
            .await
            .unwrap();
        let plan = &plan[0]["Plan"];
        assert_eq!(plan["Actual Rows"], if id.is_some() { 1 } else { 50 }, "{queue} {id:?}");
        let pages = plan["Shared Hit Blocks"].as_u64().unwrap() + plan["Shared Read Blocks"].as_u64().unwrap();
        // Read whole, the tables have over 2000.
        assert!(pages < 500, "{queue} {id:?}: {pages} pages: {plan}");
    }
}
