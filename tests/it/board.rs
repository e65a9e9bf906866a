//! The apalis board over the queues.

use rig::http::exchange;
use rig::ports;

use crate::commands::Desk;
use crate::console::{Site, hash};
use crate::scene::{SOON, confirmation};

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
             insert into order_worker.outbox (day, id, event_id, channel, topic, subject, body, cause)
             select order_worker.today(), n, gen_random_uuid(), 'dapr', 'topic', 'o', '{}', 'test' from generate_series(1, 100000) n;
             insert into order_worker.outbox_outcomes (day, id, outcome, attempts)
             select order_worker.today(), n, 'sent', 1 from generate_series(1, 100000) n;
             analyze order_worker.inbox_outcomes, order_worker.outbox, order_worker.outbox_outcomes",
        )
        .await;
    let explain = concat!(
        "explain (analyze, buffers, timing off, format json) ",
        include_str!("../../src/web/board/sql/rows.sql")
    );
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
