//! Secrets in files, and what becomes of the worker when one changes.

use rig::callback::Callback;
use rig::payment::{CONFIRMED, confirmed, json};
use rig::postgres::Postgres;
use rig::run_dir::RunDir;
use rig::stack::{Direct, Stack};
use rig::wait;
use rig::worker::{Worker, run};
use tonic::Code;

use crate::main_path::WORKER;
use crate::scene::{SOON, confirmation};
use crate::shop::Shop;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_role_is_exchanged_under_a_running_worker() {
    let direct = Direct::start("secret_role", WORKER).await;
    let owner = direct.worker.database_url.clone();
    let shop = Shop::open(&owner).await;
    let unique = owner.rsplit('/').next().unwrap().to_owned();
    let url_of = |generation: u32| owner.replace("postgres@", &format!("{unique}_{generation}@"));
    for generation in [1, 2] {
        shop.execute(&format!("create role \"{unique}_{generation}\" login")).await;
        let env = [("MIGRATE_DATABASE_URL", owner.as_str()), ("DATABASE_URL", &url_of(generation))];
        let granted = run(WORKER, &["migrate"], &env).await;
        assert!(granted.status.success(), "{}", String::from_utf8_lossy(&granted.stderr));
    }
    let dir = RunDir::new("secrets");
    dir.write("url", &format!("{}\n", url_of(1)));
    let mut direct = direct;
    direct.worker = direct.worker.env("DATABASE_URL", "").env("DATABASE_URL_FILE", dir.path().join("url").display());
    shop.place(&["o1", "o2"].map(str::to_owned)).await;
    let (worker, callback) = direct.worker().await;
    callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    shop.settled(SOON).await;

    // What cannot be used changes nothing.
    dir.write("url", "nonsense");
    wait::until("the refusal", SOON, async || worker.logs().contains("the worker goes on with what it has")).await;
    assert!(!worker.logs().contains("nonsense"), "{}", worker.log_tail());

    dir.write("url", &url_of(2));
    wait::until("the new role", SOON, async || worker.logs().contains("A new data.database.source")).await;
    shop.execute(&format!("alter role \"{unique}_1\" nologin")).await;
    Postgres::shared().await.terminate_backends(&owner).await;
    let shop = Shop::open(&owner).await;
    wait::until("the event to be taken", SOON, async || callback.event(&confirmation("e2", "p2", "o2")).await.is_ok())
        .await;
    shop.settled(SOON).await;
    assert_eq!(
        (shop.status("o1").await, shop.status("o2").await),
        ("payment_confirmed".into(), "payment_confirmed".into())
    );
    wait::until("the probes to go by the new role", SOON, async || {
        worker.get("/readyz").await.is_ok_and(|(status, _)| status == 200)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_token_is_exchanged_under_a_running_worker_and_a_real_sidecar() {
    let token = |token: &str| vec![("APP_API_TOKEN".to_owned(), token.to_owned())];
    let stack = Stack::start_with("secret_token", WORKER, |daprd| {
        daprd.env = token("first");
        daprd.processing_timeout = Some("3s".into());
    })
    .await;
    let shop = Shop::open(&stack.worker.database_url).await;
    shop.place(&["o1", "o2"].map(str::to_owned)).await;
    let dir = RunDir::new("secrets");
    dir.write("token", "first\n");
    let worker =
        Worker::start(stack.worker.clone().env("APP_API_TOKEN_FILE", dir.path().join("token").display())).await;
    let pay = async |event: &str, order: &str| {
        let message = rig::publisher::Message::new(CONFIRMED, event, json(&confirmed(event, order, "10.10")));
        stack.publisher.publish(&message).await.unwrap();
    };
    pay("e1", "o1").await;
    wait::until_or("the announcement", SOON, || worker.log_tail(), async || stack.subscriber.count() == 1).await;

    dir.write("token", "n3w-token\n");
    wait::until("the new token", SOON, async || worker.logs().contains("A new worker.eventbus.app_token")).await;
    let with = |token: &str| Callback::new(worker.eventbus_port()).with_token(token);
    let refused = with("first").event(&confirmation("e3", "p3", "o1")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    // What the sidecar brings meanwhile is refused, held by it, and delivered once it has the new one too.
    pay("e2", "o2").await;
    stack.daprd.restart_with(|daprd| daprd.env = token("n3w-token")).await;
    wait::until_or("the announcement", SOON, || worker.log_tail(), async || stack.subscriber.count() == 2).await;
    assert_eq!(shop.status("o2").await, "payment_confirmed");
    assert!(!worker.logs().contains("n3w-token"), "{}", worker.log_tail());
}
