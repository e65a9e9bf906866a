//! Who is let in at the console and the board, and who may change something.

use rig::http::exchange;
use rig::run_dir::RunDir;
use rig::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::console::{PAGES, Site, hash, with_users};
use crate::scene::{SOON, confirmation};

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
    let pause = format!("queue=dapr&csrf={csrf}");
    assert_eq!(ada.post("/queues/pause", &format!("{pause}&reason=+")).await.status, 400, "without a reason");
    assert_eq!(ada.post("/queues/pause", &format!("{pause}&reason=a+look")).await.status, 303);
    assert_eq!(site.desk.shop.count("select count(*) from order_worker.pauses where queue = 'dapr'").await, 1);
    assert_eq!(site.desk.audited().await, ["ada (console) queue pause dapr a look"]);
    assert_eq!(ada.post("/queues/resume", &format!("queue=dapr&reason=seen&csrf={csrf}")).await.status, 303);
    assert_eq!(ada.post("/cron/run", &format!("job=cart_cleanup&csrf={csrf}")).await.status, 303);
    let ran = "select count(*) from order_worker.cron_runs where kind = 'manual' and outcome = 'succeeded'";
    wait::until("the job", SOON, async || site.desk.shop.count(ran).await == 1).await;
    let run = format!("job=cart_cleanup&csrf={csrf}");
    for (path, paused) in [("/cron/pause", 1), ("/cron/resume", 0)] {
        assert_eq!(ada.post(path, &format!("job=cart_cleanup&reason=a+look&csrf={csrf}")).await.status, 303);
        assert_eq!(site.desk.shop.count("select count(*) from order_worker.pauses").await, paused);
        if paused == 1 {
            let refused = ada.post("/cron/run", &run).await;
            assert_eq!((refused.status, refused.body.contains("resume it first")), (409, true), "{}", refused.body);
        }
    }
    // The log page by page: each record once, the newest first.
    let record = "select order_worker.record('eve', 'test', n::text, '{}', null) from generate_series(1, 150) n";
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
    assert_eq!(ada.post("/queues/pause", &format!("queue=inbox&reason=a+look&csrf={csrf}")).await.status, 303);
    assert_eq!(site.desk.audited().await, ["ada (console) queue pause inbox a look"]);
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
