//! The doctor: well where all is well, and each thing that is not with its next step.

use std::collections::BTreeMap;

use rig::stack::{Direct, Stack};
use rig::wait;
use rig::worker::{Worker, run};
use serde_json::Value;

use crate::main_path::WORKER;
use crate::scene::SOON;
use crate::shop::Shop;

/// State, what was seen and what to do, by what it is about; and the exit code.
async fn findings(env: &[(&str, &str)]) -> (i32, BTreeMap<String, [String; 3]>) {
    let output = run(WORKER, &["doctor", "-o", "json"], env).await;
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let findings = findings.as_array().unwrap().iter();
    let findings =
        findings.map(|one| (text(one, "about"), ["state", "seen", "next"].map(|key| text(one, key)))).collect();
    (output.status.code().unwrap(), findings)
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_is_well_nothing_is_broken_and_what_is_missing_is_named() {
    let stack = Stack::start("doctor", WORKER).await;
    let shop = Shop::open(&stack.worker.database_url).await;
    let worker = Worker::start(stack.worker.clone()).await;
    for topic in [rig::payment::CONFIRMED, rig::payment::FAILED] {
        stack.daprd.wait_subscribed(topic).await;
    }
    let dapr = stack.worker.dapr_grpc_port.to_string();
    let (redis, warehouse) = (stack.redis.addr(), stack.warehouse.addr());
    let env = [
        ("DATABASE_URL", stack.worker.database_url.as_str()),
        ("REDIS_ADDR", &redis),
        ("DAPR_GRPC_PORT", &dapr),
        ("ORDER_EXTERNALSERVICES_WAREHOUSESERVICE_GRPCENDPOINT", &warehouse),
    ];
    let states = |found: &BTreeMap<String, [String; 3]>, state: &str| -> Vec<String> {
        found.iter().filter(|(_, [is, ..])| is == state).map(|(about, _)| about.clone()).collect()
    };
    // Lanes are taken and streams looked at soon after the start. Tests run as the superuser, and nothing holds a payment.
    let expected = ["amounts", "role"];
    let well = async || states(&findings(&env).await.1, "warning") == expected;
    wait::until_or("all to be well", SOON, || worker.log_tail(), well).await;
    let (code, found) = findings(&env).await;
    assert_eq!((code, states(&found, "broken")), (0, vec![]), "{found:#?}");
    assert_eq!(states(&found, "warning"), expected, "{found:#?}");
    assert!(found["amounts"][1].contains("0.01 pays 1,000"), "{:?}", found["amounts"]);
    let held = [&env[..], &[("ORDER_WORKER_INBOX_UNDERPAID", "hold")]].concat();
    assert_eq!(findings(&held).await.1["amounts"][0], "ok");
    assert_eq!(found["resiliency policy"][1], "loaded: order-worker");
    assert_eq!(worker.metric("order_worker_sidecar_resiliencies").await, 1.0);
    assert!(
        found["sidecar"][1].contains("app id order-worker") && found["app health check"][1].contains("switched on")
    );

    // Each cause that operators know, planted one by one.
    stack.daprd.restart_with(|spec| spec.with_resiliency = false).await;
    let missing = async || worker.metric("order_worker_sidecar_resiliencies").await == 0.0;
    wait::until("the gauge", SOON, missing).await;
    worker.kill9();
    shop.execute(
        "update order_worker.workers set lease_until = now() - interval '1 hour';
         update order_worker.cron_jobs set next_tick = now() - interval '1 hour' where job = 'order_cleanup';
         do $$ begin execute 'drop table order_worker.' || (select name from order_worker.partitions()
             where journal = 'inbox' and lower <= order_worker.today() + 1 and upper > order_worker.today() + 1); end $$;
         insert into order_worker.pending (queue, id, day, lane, key, state, created_at)
         values ('inbox', 1, order_worker.today(), 0, 'o1', 'dead', now()), ('dapr', 2, order_worker.today(), 0, 'o1', 'ready', now() - interval '1 hour')",
    )
    .await;
    let wrong = [
        ("ORDER_WORKER_DAPR_PUBSUB", "pubsub-kafka"),
        ("ORDER_WORKER_EVENTBUS_PUBSUB", "pubsub-kafka"),
        ("ORDER_WORKER_EVENTBUS_DEADLETTERTOPIC", "another"),
        ("ORDER_EXTERNALSERVICES_WAREHOUSESERVICE_GRPCENDPOINT", "127.0.0.1:1"),
    ];
    let (code, found) = findings(&[&env[..3], &wrong].concat()).await;
    assert_eq!(code, 3);
    for (about, state, words) in [
        ("workers", "broken", "none is alive"),
        ("jobs", "broken", "order_cleanup"),
        ("component", "broken", "pubsub-redis"),
        ("resiliency policy", "broken", "none is loaded"),
        ("subscriptions", "broken", "missing: another"),
        ("warehouse", "broken", "127.0.0.1:1"),
        ("dead rows", "warning", "1"),
        ("backlog", "warning", "1 rows are older"),
        ("tomorrow's partitions", "warning", "1 are missing"),
    ] {
        let [is, seen, next] = &found[about];
        assert!(is == state && seen.contains(words) && !next.is_empty(), "{about}: {:?}", found[about]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_away_is_found_and_the_rest_is_looked_at_all_the_same() {
    let away = [
        ("DATABASE_URL", "postgres://w:hunter2@127.0.0.1:1/orders"),
        ("REDIS_ADDR", "127.0.0.1:1"),
        ("DAPR_GRPC_PORT", "1"),
    ];
    let (code, found) = findings(&away).await;
    assert_eq!(code, 3);
    for about in ["database", "Redis", "sidecar", "warehouse"] {
        assert_eq!(found[about][0], "broken", "{about}");
        assert!(!found[about][2].is_empty() && !found[about][1].contains("hunter2"), "{:?}", found[about]);
    }
    let direct = Direct::start("doctor_old", WORKER).await;
    let shop = Shop::open(&direct.worker.database_url).await;
    shop.execute("delete from order_worker._sqlx_migrations where version = (select max(version) from order_worker._sqlx_migrations)").await;
    let (_, found) = findings(&[("DATABASE_URL", &direct.worker.database_url)]).await;
    assert_eq!((found["schema"][0].as_str(), found["schema"][2].as_str()), ("broken", "order-worker migrate"));
}
