//! The console in a real browser: every page, both roles, both widths, by keyboard, live, and without a complaint of the browser.

use std::path::Path;

use rig::browser::Browser;
use rig::callback::Event;
use rig::payment::{CONFIRMED, amount, confirmed, json};
use rig::wait;

use crate::console::{PAGES, Site, with_users};
use crate::scene::{SOON, confirmation};

/// The pages of which docs/ has a picture: `make pictures` takes them anew.
const PICTURED: [(&str, &str); 4] =
    [("overview", "light"), ("order", "light"), ("waiting", "light"), ("overview", "dark")];
/// Tab and Enter of the WebDriver protocol.
const TAB: &str = "\u{E004}";
const ENTER: &str = "\u{E007}";

/// Something on every page: applied, held, dead, quarantined, an incident, a replay, runs of jobs, records.
async fn busy(name: &str) -> Site {
    let site = with_users(name).await;
    let mut little = confirmed("p-held", "o2", "10.10");
    little.amount = amount("10.09");
    for n in 0..30 {
        site.desk.shop.place_one(&format!("order-{n}")).await;
        site.callback.event(&confirmation(&format!("e-{n}"), &format!("p-{n}"), &format!("order-{n}"))).await.unwrap();
    }
    site.callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    site.desk.shop.settled(SOON).await;
    site.callback.event(&confirmation("e2", "p2", "o1")).await.unwrap();
    site.callback.event(&confirmation("e1", "p3", "o3")).await.unwrap();
    site.callback.event(&Event::new(CONFIRMED, "e-held", json(&little))).await.unwrap();
    site.callback.event(&confirmation("e-late", "p-late", "late")).await.unwrap();
    let waits = "select count(*) from order_worker.pending where state in ('dead', 'held', 'quarantined')";
    wait::until("three to wait", SOON, async || site.desk.shop.count(waits).await == 3).await;
    site.desk.says(&["inbox", "replay", "--since", "1h", "--reason", "a try"]).await;
    site.desk.says(&["cron", "run", "session_cleanup"]).await;
    wait::until("three to wait again", SOON, async || site.desk.shop.count(waits).await == 3).await;
    site
}

async fn login(browser: &Browser, site: &Site, name: &str) {
    browser.go(&format!("http://127.0.0.1:{}/", site.port)).await;
    assert!(browser.url().await.ends_with("/login"));
    browser.enter("input[name=name]", name).await;
    browser.enter("input[name=password]", &format!("{name}-secret")).await;
    browser.press(ENTER).await;
    wait::until("the overview", SOON, async || browser.has("nav a[aria-current]").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_looks_right_in_both_roles_and_widths_and_nothing_is_refused() {
    let site = busy("browser_pages").await;
    let browser = Browser::open(1280, 900).await;
    login(&browser, &site, "vic").await;
    let pictures = std::env::var("PICTURES").ok();
    if pictures.is_some() {
        // Of a console that has looked more than once.
        wait::until("the rates", SOON, async || browser.text().await.contains("events accepted")).await;
    }
    for (width, height, scheme) in [(1280, 900, "light"), (390, 844, "dark")] {
        browser.resize(width, height).await;
        browser.scheme(scheme).await;
        for path in PAGES {
            browser.go(&format!("http://127.0.0.1:{}{path}", site.port)).await;
            assert!(browser.has("h1").await && browser.has(".command code").await, "{path}");
            assert!(!browser.has("form.action").await, "a viewer has no buttons: {path}");
            // Tables scroll by themselves: the page is never wider than the window.
            let wider = browser
                .script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
                .await;
            assert_eq!(wider, 0, "{path} at {width}");
            let local =
                browser.script("const t = document.querySelector('time[datetime]'); return !t || t.title !== ''").await;
            assert_eq!(local, true, "{path}: the local time");
            if let Some(dir) = &pictures {
                let name = path.trim_matches('/').split('?').next().unwrap();
                let name = if name.is_empty() { "overview" } else { name };
                if PICTURED.contains(&(name, scheme)) {
                    browser.picture(&Path::new(dir).join(format!("console-{name}-{scheme}.png"))).await;
                }
            }
        }
    }
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_changes_things_with_a_few_keys_and_pages_keep_themselves_live() {
    let site = busy("browser_changes").await;
    let browser = Browser::open(1280, 900).await;
    login(&browser, &site, "ada").await;
    let page = async |path: &str| browser.go(&format!("http://127.0.0.1:{}{path}", site.port)).await;

    // The first thing that the keyboard reaches leads to the content.
    page("/").await;
    browser.press(TAB).await;
    assert_eq!(browser.script("return document.activeElement.className").await, "skip");

    // Live: what happens elsewhere appears without a reload.
    browser.script("window.mark = 'not loaded again'").await;
    site.desk.says(&["queue", "pause", "warehouse", "--reason", "stocktaking"]).await;
    wait::until("the pause to appear", SOON, async || browser.text().await.contains("stocktaking")).await;
    assert_eq!(browser.script("return window.mark").await, "not loaded again");
    browser.enter("form[action='/queues/resume'] input[name=reason]", "counted").await;
    browser.click("form[action='/queues/resume'] button").await;
    wait::until("the queue to run", SOON, async || !browser.text().await.contains("stocktaking")).await;
    assert_eq!(site.desk.shop.count("select count(*) from order_worker.pauses").await, 0);

    // Whoever works by keyboard is still where he was, and a table on a phone as far as he had scrolled it.
    page("/").await;
    browser.resize(390, 844).await;
    let inbox = "const inbox = document.querySelector(\"input[name=queue][value=inbox]\").form; ";
    browser
        .script(&format!("{inbox} inbox.querySelector('button').focus(); inbox.closest('.scroll').scrollLeft = 60"))
        .await;
    let typed = format!("{inbox} const reason = inbox.querySelector('[name=reason]'); ");
    browser.script(&format!("{typed} reason.value = 'half a'")).await;
    site.desk.says(&["queue", "pause", "warehouse", "--reason", "counting"]).await;
    wait::until("the pause to appear", SOON, async || browser.text().await.contains("counting")).await;
    assert_eq!(browser.script(&format!("{typed} return reason.value")).await, "half a");
    let kept = format!("{inbox} return [document.activeElement.form === inbox, inbox.closest('.scroll').scrollLeft]");
    assert_eq!(browser.script(&kept).await, serde_json::json!([true, 60]));
    // What has changed under his fingers is still in his row.
    site.desk.says(&["queue", "pause", "inbox", "--reason", "a look"]).await;
    wait::until("the pause to appear", SOON, async || browser.text().await.contains("a look")).await;
    assert_eq!(browser.script("return document.activeElement.textContent").await, "Resume");
    assert_eq!(browser.script(&kept).await[0], true);
    for queue in ["inbox", "warehouse"] {
        site.desk.says(&["queue", "resume", queue, "--reason", "seen"]).await;
    }
    browser.resize(1280, 900).await;

    page("/cron").await;
    browser.click("form[action='/cron/run'] button").await;
    wait::until("the run", SOON, async || browser.text().await.contains("manual")).await;

    page("/waiting").await;
    browser.click("a[href^='/waiting/']").await;
    browser.enter("form.action input[name=reason]", "the shop granted a discount").await;
    browser.press(ENTER).await;
    wait::until("the decision", SOON, async || site.desk.shop.status("o2").await == "payment_confirmed").await;

    page("/dead").await;
    browser.click("a[href^='/dead/selection']").await;
    site.desk.shop.place_one("late").await;
    browser.enter("form[action='/dead/redrive'] input[name=reason]", "it is there").await;
    browser.click("form[action='/dead/redrive'] button").await;
    wait::until("the late one", SOON, async || site.desk.shop.status("late").await == "payment_confirmed").await;

    page("/incidents").await;
    browser.click("a[href^='/incidents/']").await;
    browser.enter("form.action input[name=reason]", "refunded").await;
    browser.click("form.action button").await;
    wait::until("the list", SOON, async || browser.url().await.ends_with("/incidents")).await;

    browser.enter("header input[name=id]", "o1").await;
    browser.press(ENTER).await;
    wait::until("the story", SOON, async || browser.text().await.contains("payment_confirmed")).await;
    page("/audit").await;
    let log = browser.text().await;
    for action in ["cron run", "queue resume", "dead redrive", "inbox approve", "incident resolve"] {
        assert!(log.contains(action), "{action}: {log}");
    }
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.click("form[action='/logout'] button").await;
    wait::until("the login", SOON, async || browser.url().await.ends_with("/login")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_change_is_made_by_a_click_as_well() {
    let site = busy("browser_clicks").await;
    let (shop, browser) = (&site.desk.shop, Browser::open(1280, 900).await);
    login(&browser, &site, "ada").await;
    let page = async |path: &str| browser.go(&format!("http://127.0.0.1:{}{path}", site.port)).await;
    let said = async |words: &'static str, is: bool| {
        wait::until(words, SOON, async || browser.text().await.contains(words) == is).await;
    };
    let reasoned = async |form: &str| {
        browser.enter(&format!("{form} input[name=reason]"), "a click").await;
        browser.click(&format!("{form} button")).await;
    };

    for (path, name) in [("/", "queues"), ("/cron", "cron")] {
        page(path).await;
        reasoned(&format!("form[action='/{name}/pause']")).await;
        said("paused by ada (console)", true).await;
        reasoned(&format!("form[action='/{name}/resume']")).await;
        said("paused by ada (console)", false).await;
    }

    page("/outbox?order=o1&topic=orders.order.status_changed").await;
    browser.click("a[href^='/outbox/']").await;
    let sent = site.desk.direct.sidecar.count();
    reasoned("form[action='/outbox/resend']").await;
    wait::until("it to be sent again", SOON, async || site.desk.direct.sidecar.count() == sent + 1).await;

    page("/waiting").await;
    browser.click("a[href^='/waiting/']").await;
    reasoned("form[action='/waiting/decide']:has(input[name=accept][value=no])").await;
    let rejected =
        "select count(*) from order_worker.inbox_status where outcome = 'rejected' and event_id in ('e-held', 'e1')";
    wait::until("the rejection", SOON, async || shop.count(rejected).await == 1).await;

    page("/replays/rehearse?outcome=dead&since=1d").await;
    reasoned("form[action='/replays/ask']").await;
    let replays = "select count(*) from order_worker.cron_runs where job = 'inbox_replay' and outcome = 'succeeded'";
    wait::until("the replay", SOON, async || shop.count(replays).await == 2).await;
    let dead = "select count(*) from order_worker.pending where state = 'dead'";
    wait::until("it to be dead again", SOON, async || shop.count(dead).await == 1).await;

    page("/dead").await;
    browser.click("a[href^='/dead/selection']").await;
    reasoned("form[action='/dead/skip']").await;
    wait::until("it to be skipped", SOON, async || shop.count(dead).await == 0).await;
    said("1 of 1 looked at", true).await;

    // A run that waits: of a job that is taken by nobody while its queue is paused.
    site.desk.says(&["queue", "pause", "cron", "--reason", "a look"]).await;
    let waiting = "with run as (insert into order_worker.cron_runs (job, tick, kind) values ('cart_cleanup', clock_timestamp(), 'manual') returning id)
                   insert into order_worker.pending (queue, id, day, lane, key) select 'cron', id, order_worker.today(), 0, 'cart_cleanup' from run";
    shop.execute(waiting).await;
    page("/cron/history?job=cart_cleanup").await;
    reasoned("form[action='/cron/cancel']").await;
    said("cancelled by ada (console): a click", true).await;
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_board_runs_in_a_browser_behind_the_login() {
    let board = rig::ports::free();
    let addr = format!("127.0.0.1:{board}");
    let users = format!("vic:viewer:{}", crate::console::hash("vic-secret").await);
    let settings = [
        ("ORDER_WORKER_BOARD_ENABLED", "true"),
        ("ORDER_WORKER_BOARD_ADDR", &addr),
        ("ORDER_WORKER_CONSOLE_USERS", &users),
    ];
    let site = Site::start("browser_board", &settings).await;
    site.callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    site.desk.shop.settled(SOON).await;
    let browser = Browser::open(1280, 900).await;
    login(&browser, &site, "vic").await;
    browser.go(&format!("http://{addr}/")).await;
    wait::until("the board to show the queues", SOON, async || {
        let text = browser.text().await;
        ["inbox", "dapr", "warehouse", "cron", "All systems are operational."].iter().all(|words| text.contains(words))
    })
    .await;
    if let Ok(dir) = std::env::var("PICTURES") {
        browser.picture(&Path::new(&dir).join("board.png")).await;
    }
    let complaints = browser.complaints().await;
    // It asks for a stream of events, which there is not, and its own page gives a hint that Chromium does not take.
    let known =
        |one: &String| one.contains("/api/v1/events") || one.contains("`integrity` attribute is currently ignored");
    assert!(complaints.iter().all(known), "{complaints:?}");
}
