//! Encrypted connections to Postgres and Redis, and what is said when one is refused.

use std::collections::BTreeMap;

use rig::authority::Authority;
use rig::postgres::Postgres;
use rig::redis::Redis;
use rig::stack::Direct;
use rig::wait;
use rig::worker::{Worker, migrate, run};
use serde_json::Value;

use crate::main_path::WORKER;
use crate::scene::{SOON, confirmation};
use crate::shop::Shop;

/// The URL with these parameters behind it.
fn with(url: &str, parameters: &[(&str, &str)]) -> String {
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{url}?{}", parameters.join("&"))
}

/// What the doctor says of one thing: its state, what it saw, and the next step.
pub async fn found(about: &str, env: &[(&str, &str)]) -> [String; 3] {
    let output = run(WORKER, &["doctor", "-o", "json"], env).await;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let findings: Vec<BTreeMap<String, Value>> = serde_json::from_str(&printed).unwrap_or_default();
    let finding = findings.iter().find(|finding| finding["about"] == about);
    assert!(finding.is_some(), "nothing about {about}: {printed} {}", String::from_utf8_lossy(&output.stderr));
    let finding = finding.unwrap();
    ["state", "seen", "next"].map(|field| finding[field].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_way_goes_over_verified_tls_to_postgres_with_a_client_certificate() {
    let authority = Authority::new();
    let postgres = Postgres::start_tls(&authority, &["localhost", "127.0.0.1"]).await;
    let plain = postgres.database("tls").await;
    let ca = authority.file();
    let owner = with(&plain, &[("sslmode", "verify-full"), ("sslrootcert", ca.to_str().unwrap())]);
    let shop = Shop::open(&plain).await;
    shop.execute("create role worker login").await;
    let (cert, key) = authority.sign_to_files(&["worker"]);
    let files =
        [("sslrootcert", ca.to_str().unwrap()), ("sslcert", cert.to_str().unwrap()), ("sslkey", key.to_str().unwrap())];
    let worker_url = plain.replace("postgres@127.0.0.1", "worker@localhost");
    let worker_url = with(&worker_url, &[&[("sslmode", "verify-full")][..], &files[..]].concat());
    let migrated = run(WORKER, &["migrate"], &[("MIGRATE_DATABASE_URL", &owner), ("DATABASE_URL", &worker_url)]).await;
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));

    let mut direct = Direct::start("tls_plain", WORKER).await;
    direct.worker.database_url = worker_url;
    shop.place_one("o1").await;
    let (_worker, callback) = direct.worker().await;
    callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    shop.settled(SOON).await;
    assert_eq!(shop.status("o1").await, "payment_confirmed");
    let unencrypted = "select count(*)::text from pg_stat_ssl s join pg_stat_activity a using (pid) \
                       where a.usename = 'worker' and a.application_name like $1 and not s.ssl";
    assert_eq!(shop.text(unencrypted, "order-worker%").await, "0");
    let encrypted = "select (count(*) > 0)::text from pg_stat_ssl s join pg_stat_activity a using (pid) \
                     where a.usename = 'worker' and a.application_name like $1 and s.ssl and s.client_dn like '%worker%'";
    assert_eq!(shop.text(encrypted, "order-worker%").await, "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_not_the_right_one_is_refused_with_the_way_out() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let postgres = Postgres::start_tls(&authority, &["postgres.shop"]).await;
    let url = postgres.url("postgres");
    let (ca, other) = (authority.file(), stranger.file());
    let verify = |mode: &str, ca: &str| with(&url, &[("sslmode", mode), ("sslrootcert", ca)]);
    for (url, says) in [
        (verify("verify-full", other.to_str().unwrap()), "name that CA's certificate in sslrootcert"),
        (verify("verify-full", ca.to_str().unwrap()), "connect by a name that it carries"),
        (verify("verify-full", "/nowhere/ca.crt"), "sslrootcert=/nowhere/ca.crt in the database URL: No such file"),
    ] {
        let output = run(WORKER, &["migrate"], &[("DATABASE_URL", &url)]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(says), "{says:?} is not in {said}");
    }
    // The name is not looked at by verify-ca; a server without TLS does not do.
    migrate(WORKER, &verify("verify-ca", ca.to_str().unwrap())).await;
    let without_tls = with(&Postgres::shared().await.url("postgres"), &[("sslmode", "require")]);
    let output = run(WORKER, &["migrate"], &[("DATABASE_URL", &without_tls)]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("Postgres has ssl switched off"), "{said}");

    // The worker waits, and says so.
    let mut direct = Direct::start("tls_waits", WORKER).await;
    direct.worker.database_url = verify("verify-full", other.to_str().unwrap());
    let worker = Worker::spawn(direct.worker.clone());
    wait::until("the way out in the log", SOON, async || {
        let logs = worker.logs();
        logs.contains("Waiting for the database: ") && logs.contains("name that CA's certificate in sslrootcert")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_watched_over_tls_as_a_user_of_its_own() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (redis, port) = Redis::start_tls(&authority, &["localhost"]).await;
    let (by_name, by_address) = (format!("localhost:{port}"), format!("127.0.0.1:{port}"));
    let (ca, other) = (authority.file(), stranger.file());
    let database = Direct::start("tls_redis", WORKER).await.worker.database_url;
    let env = |addr, ca| {
        [
            ("DATABASE_URL", database.as_str()),
            ("REDIS_ADDR", addr),
            ("ORDER_DATA_REDIS_TLS", "true"),
            ("ORDER_DATA_REDIS_CAFILE", ca),
            ("ORDER_DATA_REDIS_USERNAME", "watcher"),
            ("ORDER_DATA_REDIS_PASSWORD", "secret"),
        ]
    };
    let [state, seen, _] = found("Redis", &env(&by_name, ca.to_str().unwrap())).await;
    assert_eq!((state.as_str(), seen.as_str()), ("ok", by_name.as_str()));
    let plain = redis.addr();
    for (addr, ca, says) in [
        (&by_name, other.to_str().unwrap(), "data.redis.ca_file"),
        (&by_address, ca.to_str().unwrap(), "connect by a name that it carries"),
        (&plain, ca.to_str().unwrap(), "its TLS, user and password"),
    ] {
        let [state, seen, next] = found("Redis", &env(addr, ca)).await;
        assert!(state == "broken" && next.contains(says), "{says:?}: {seen}: {next}");
    }
    let [_, seen, _] = found("Redis", &env(&by_name, "/nowhere/ca.crt")).await;
    assert!(seen.contains("data.redis.ca_file: /nowhere/ca.crt: No such file"), "{seen}");

    // The prober and reconciliation go the same way.
    let mut direct = Direct::start("tls_probe", WORKER).await;
    for (name, value) in env(&by_name, ca.to_str().unwrap()).into_iter().skip(1) {
        direct.worker = direct.worker.env(name, value);
    }
    let (worker, _callback) = direct.worker().await;
    wait::until("Redis to be seen", SOON, async || worker.metric("order_worker_redis_up").await == 1.0).await;
}
