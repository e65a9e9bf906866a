//! Sessions of the console: how far a login reaches, and what does not end it.

use rig::browser::Browser;
use rig::http::{Answer, exchange};
use rig::worker::{Worker, run};
use rig::{ports, wait};

use crate::console::{Site, hash, token, with_users};
use crate::main_path::WORKER;
use crate::scene::SOON;

const KEY: &str = "9Yc0mXjv5Q1oG0k8w4m2uB7nT3sL6dHa";

/// A session's cookie as one replica has set it, shown to the console at another port.
async fn page_at(port: u16, cookie: &str) -> Answer {
    exchange(port, "GET", "/", &[("cookie", cookie)], "").await.unwrap()
}

/// Another replica of a site's worker, and the port of its console.
async fn another(site: &Site) -> (Worker, u16) {
    let port = ports::free();
    let spec = site.desk.direct.worker.replica().env("ORDER_WORKER_CONSOLE_ADDR", format!("127.0.0.1:{port}"));
    let worker = Worker::start(spec).await;
    wait::until("its console", SOON, async || exchange(port, "GET", "/login", &[], "").await.is_ok()).await;
    (worker, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_holds_on_every_replica_and_over_a_restart_where_they_share_a_key() {
    let users = format!("ada:operator:{}", hash("ada-secret").await);
    for (key, holds) in [(KEY, true), ("", false)] {
        let settings = [("ORDER_WORKER_CONSOLE_USERS", users.as_str()), ("ORDER_WORKER_CONSOLE_SESSIONKEY", key)];
        let site = Site::start(&format!("logins_shared_{holds}"), &settings).await;
        let (worker, port) = another(&site).await;
        let (status, ada) = site.login("ada", "ada-secret").await;
        assert_eq!((status, ada.get("/").await.status), (303, 200));
        let there = page_at(port, &ada.cookie).await;
        assert_eq!(there.status, if holds { 200 } else { 303 }, "{}", there.body);
        // Whether it holds there or not, the other replica leaves it alone.
        assert!(!there.headers.contains_key("set-cookie"), "{:?}", there.headers);
        worker.restart().await;
        wait::until("its console", SOON, async || exchange(port, "GET", "/login", &[], "").await.is_ok()).await;
        assert_eq!(page_at(port, &ada.cookie).await.status, if holds { 200 } else { 303 });
        if holds {
            // A form that one replica has shown is taken by another.
            let csrf = ada.csrf().await;
            let headers = [("cookie", ada.cookie.as_str()), ("content-type", "application/x-www-form-urlencoded")];
            let body = format!("queue=dapr&reason=a+try&csrf={csrf}");
            let paused = exchange(port, "POST", "/queues/pause", &headers, &body).await.unwrap();
            assert_eq!(paused.status, 303, "{}", paused.body);
        }
        let said = "sessions hold in this process alone";
        assert_eq!(worker.logs().contains(said), !holds, "{}", worker.log_tail());
        assert!(!worker.logs().contains(KEY));
    }
}

/// A session is signed: under another key, or changed, it is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_under_another_key_is_none() {
    let users = format!("ada:operator:{} vic:viewer:{}", hash("ada-secret").await, hash("vic-secret").await);
    let started = async |name: &str, key: &str| {
        let settings = [("ORDER_WORKER_CONSOLE_USERS", users.as_str()), ("ORDER_WORKER_CONSOLE_SESSIONKEY", key)];
        Site::start(name, &settings).await
    };
    let (one, two) =
        (started("logins_key_one", KEY).await, started("logins_key_two", "another-key-of-thirty-two-characters").await);
    let (_, vic) = one.login("vic", "vic-secret").await;
    assert_eq!(page_at(one.port, &vic.cookie).await.status, 200);
    assert_eq!(page_at(two.port, &vic.cookie).await.status, 303);
    let forged = vic.cookie.replace("viewer", "operator").replace("vic", "ada");
    assert_ne!(forged, vic.cookie);
    assert_eq!(page_at(one.port, &forged).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_can_be_guessed_is_refused_without_being_shown() {
    let env = [("DATABASE_URL", "postgres://worker@localhost/orders"), ("ORDER_WORKER_CONSOLE_SESSIONKEY", "hunter2")];
    let output = run(WORKER, &["config", "check"], &env).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for words in ["worker.console.session_key", "at least 32 characters", "openssl rand"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_are_secure_where_the_browser_speaks_tls() {
    let site = with_users("logins_tls").await;
    let set = async |port: u16, more: &[(&str, &str)]| {
        let form = exchange(port, "GET", "/login", more, "").await.unwrap();
        let forms = form.headers["set-cookie"].clone();
        let mut headers =
            vec![("cookie", forms.split(';').next().unwrap()), ("content-type", "application/x-www-form-urlencoded")];
        headers.extend(more);
        let body = format!("name=ada&password=ada-secret&csrf={}", token(&form.body));
        let login = exchange(port, "POST", "/login", &headers, &body).await.unwrap();
        [forms, login.headers["set-cookie"].clone()]
    };
    let secure = |cookies: [String; 2]| cookies.map(|cookie| cookie.contains("Secure"));
    assert_eq!(secure(set(site.port, &[]).await), [false, false]);
    assert_eq!(secure(set(site.port, &[("x-forwarded-proto", "http")]).await), [false, false]);
    assert_eq!(secure(set(site.port, &[("x-forwarded-proto", "https")]).await), [true, true]);
    assert_eq!(secure(set(site.port, &[("forwarded", "for=192.0.2.7;proto=https")]).await), [true, true]);

    let users = format!("ada:operator:{}", hash("ada-secret").await);
    let settings = [("ORDER_WORKER_CONSOLE_USERS", users.as_str()), ("ORDER_WORKER_CONSOLE_SECURECOOKIES", "true")];
    let always = Site::start("logins_tls_always", &settings).await;
    assert_eq!(secure(set(always.port, &[]).await), [true, true]);
}

/// Whatever a browser is made to send without its session's cookie, the answer leaves that session alone.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_but_a_login_sets_a_session() {
    let site = with_users("logins_alone").await;
    let (_, ada) = site.login("ada", "ada-secret").await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for (method, path, body) in [
        ("GET", "/", ""),
        ("GET", "/dead", ""),
        ("GET", "/login", ""),
        ("POST", "/login", "name=ada&password=ada-secret&csrf=guessed"),
        ("POST", "/login", "name=ada&password=ada-secret"),
        ("POST", "/logout", "csrf=guessed"),
        ("POST", "/queues/pause", "queue=dapr&csrf=guessed"),
    ] {
        let answer = exchange(site.port, method, path, &form, body).await.unwrap();
        let set = answer.headers.get("set-cookie").cloned().unwrap_or_default();
        assert!(!set.contains("order_worker_session"), "{method} {path}: {set}");
    }
    assert_eq!(ada.get("/").await.status, 200);
    assert_eq!(ada.post("/logout", "csrf=guessed").await.status, 403);
    assert_eq!(ada.get("/").await.status, 200);
}

/// In a real browser: a link in somebody's chat leads to the page, and what another site makes the browser send ends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn another_sites_page_leads_to_the_console_and_does_not_end_its_session() {
    let site = with_users("logins_links").await;
    let console = format!("http://127.0.0.1:{}", site.port);
    let browser = Browser::open(1280, 900).await;
    browser.go(&format!("{console}/")).await;
    browser.enter("input[name=name]", "ada").await;
    browser.enter("input[name=password]", "ada-secret").await;
    browser.press("\u{E007}").await;
    let inside = async || browser.has("nav a[aria-current]").await;
    wait::until("the overview", SOON, inside).await;

    let elsewhere = async |html: &str| browser.go(&format!("data:text/html,{html}")).await;
    elsewhere(&format!("<a id=link href='{console}/dead'>see the dead</a>")).await;
    browser.click("#link").await;
    wait::until("the page that the link names", SOON, async || {
        browser.url().await.ends_with("/dead") && inside().await
    })
    .await;

    for (path, fields) in [
        ("/login", "<input name=name value=ada><input name=password value=x>"),
        ("/logout", ""),
        ("/queues/pause", "<input name=queue value=dapr>"),
    ] {
        elsewhere(&format!("<form method=post action='{console}{path}'>{fields}<button id=send>go</button></form>"))
            .await;
        browser.click("#send").await;
        wait::until("an answer", SOON, async || browser.url().await.starts_with(&console)).await;
        browser.go(&format!("{console}/")).await;
        wait::until("the overview again", SOON, inside).await;
    }
    assert_eq!(site.desk.shop.count("select count(*) from order_worker.pauses").await, 0);
}
