//! Consul: being registered there, finding the warehouse there, and doing without it.

use std::time::{Duration, Instant};

use rig::authority::Authority;
use rig::behaviour::{Behaviour, Gate};
use rig::consul::{Consul, Fault, RealConsul};
use rig::http;
use rig::wait;
use rig::warehouse::Warehouse;
use rig::worker::{Worker, WorkerSpec, run};

use crate::main_path::WORKER;
use crate::scene::{SOON, Scene, assert_not_held_up};
use crate::tls_front::behind_tls;

/// The default of worker.warehouse.timeout.
const ONE_CALL: Duration = Duration::from_secs(5);
const SERVICE: &str = "order-worker";
/// The service that the configured endpoint names. Here the endpoint is `localhost:<port>`, so that it can be called as well.
const WAREHOUSE: &str = "localhost";

/// A worker with a warehouse at its configured endpoint, and an agent.
struct Shop {
    scene: Scene,
    consul: Consul,
    orders: std::cell::Cell<u32>,
}

impl Shop {
    async fn start(name: &str, consul: Consul) -> Shop {
        Shop::start_with(name, consul, |spec| spec).await
    }

    async fn start_with(name: &str, consul: Consul, change: impl FnOnce(WorkerSpec) -> WorkerSpec) -> Shop {
        let addr = consul.addr();
        let scene = Scene::start_with(name, |mut spec| {
            spec.warehouse_addr = spec.warehouse_addr.map(|addr| addr.replace("127.0.0.1", WAREHOUSE));
            change(spec.env("CONSUL_ADDR", addr).env("ORDER_WORKER_CONSUL_TTL", "2s"))
        })
        .await;
        Shop { scene, consul, orders: 0.into() }
    }

    /// One payment all the way: applied, announced, and its reservation confirmed.
    async fn pay(&self) {
        let number = self.orders.get();
        self.orders.set(number + 1);
        let order = format!("o{number}");
        self.scene.shop.place_one(&order).await;
        self.scene.confirm(&format!("e{number}"), &format!("p{number}"), &order).await;
        let settled = async || self.scene.shop.unsettled().await == 0;
        wait::until_or("the payment to go all the way", SOON, || self.scene.worker.log_tail(), settled).await;
    }

    /// The instances that the worker says it calls.
    async fn instances(&self, count: f64) {
        let probe = async || self.scene.worker.metric("order_worker_warehouse_instances").await == count;
        wait::until_or("that number of instances", SOON, || self.scene.worker.log_tail(), probe).await;
    }

    fn configured(&self) -> usize {
        self.scene.direct.warehouse.calls().len()
    }

    async fn registered(&self) {
        let passes = async || self.consul.passing(SERVICE).len() == 1;
        wait::until_or("the worker to pass", SOON, || self.scene.worker.log_tail(), passes).await;
    }

    fn logged(&self, line: &str) -> usize {
        self.scene.worker.logs().matches(line).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_behind_tls_is_spoken_to_where_its_certificate_is_trusted_and_never_stops_work() {
    let (authority, consul) = (Authority::new(), Consul::start());
    let addr = format!("https://{}", behind_tls(&consul.addr(), &authority).await);
    let file = authority.file();
    let shop = Shop::start_with("consul_tls", consul, |spec| {
        spec.env("CONSUL_ADDR", &addr).env("SSL_CERT_FILE", file.display())
    })
    .await;
    shop.registered().await;
    shop.pay().await;

    // The same with another CA: refused, said, and nothing waits for it.
    let other = Authority::new();
    let stranger = shop.scene.worker.spec().replica().env("SSL_CERT_FILE", other.file().display());
    let stranger = Worker::start(stranger).await;
    let away = async || stranger.metric("order_worker_consul_up").await == 0.0;
    wait::until_or("it to be refused", SOON, || stranger.log_tail(), away).await;
    assert!(stranger.logs().to_lowercase().contains("certificate"), "{}", stranger.log_tail());
    assert_eq!(shop.consul.passing(SERVICE).len(), 1);
    shop.pay().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_registers_as_a_kratos_service_and_is_gone_when_it_stops() {
    // A time to live that heartbeats keep on a busy machine too.
    let shop =
        Shop::start_with("consul_registers", Consul::start(), |spec| spec.env("ORDER_WORKER_CONSUL_TTL", "6s")).await;
    shop.registered().await;
    let port = shop.scene.worker.eventbus_port();
    let (id, addr) = (format!("order-worker-127.0.0.1-{port}"), format!("127.0.0.1:{port}"));
    let told = &shop.consul.registered(SERVICE)[0];
    assert_eq!((told["ID"].as_str(), told["Address"].as_str()), (Some(&*id), Some("127.0.0.1")), "{told:#}");
    assert_eq!((told["Port"].as_u64(), told["Tags"][0].as_str()), (Some(port.into()), Some("version=v1.0.0")));
    assert_eq!(told["Meta"]["version"], "v1.0.0");
    assert_eq!(told["TaggedAddresses"]["grpc"]["Address"], format!("grpc://{addr}"));
    assert_eq!(
        (told["Checks"][0]["TCP"].as_str(), told["Checks"][0]["Interval"].as_str()),
        (Some(&*addr), Some("10s"))
    );
    assert_eq!(
        (&told["Checks"][1]["CheckID"], &told["Checks"][1]["TTL"]),
        (&format!("service:{id}").into(), &"6000ms".into())
    );
    assert_eq!(told["Checks"][1]["DeregisterCriticalServiceAfter"], "600s");

    // A replica has an id of its own; mode cron opens no port and registers none.
    let replica = Worker::start(shop.scene.worker.spec().replica()).await;
    wait::until("the replica", SOON, async || shop.consul.passing(SERVICE).len() == 2).await;
    let cron = Worker::start(WorkerSpec { mode: "cron".into(), ..shop.scene.worker.spec().replica() }).await;
    wait::until("the cron worker's calls", SOON, async || cron.metric("order_worker_consul_up").await == 1.0).await;
    assert_eq!(shop.consul.registered(SERVICE).len(), 2);

    // It passes for longer than its TTL.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(9) {
        assert_eq!(shop.consul.passing(SERVICE).len(), 2, "{:?}", shop.consul.checks(SERVICE));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // A stop takes it back; a death is noticed.
    shop.scene.worker.terminate();
    assert!(shop.scene.worker.wait_exit(SOON).await.success());
    assert_eq!(shop.consul.registered(SERVICE).len(), 1);
    assert_eq!(shop.logged("Deregistered from Consul"), 1);
    replica.kill9();
    let ttl = (format!("service:order-worker-127.0.0.1-{}", replica.eventbus_port()), "critical".to_owned());
    // Its other check may find the closed port sooner.
    wait::until("the dead replica to be critical", SOON, async || shop.consul.checks(SERVICE).contains(&ttl)).await;
    assert!(shop.consul.passing(SERVICE).is_empty());

    // Started again in its place it replaces its own entry.
    replica.restart().await;
    wait::until("it to be back", SOON, async || shop.consul.passing(SERVICE).len() == 1).await;
    assert_eq!(shop.consul.registered(SERVICE).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_forgot_the_worker_is_told_again() {
    let shop = Shop::start("consul_forgets", Consul::start()).await;
    shop.registered().await;
    shop.consul.forget();
    shop.registered().await;
    shop.consul.stop();
    shop.consul.forget();
    wait::until("it to be missed", SOON, async || shop.logged("Consul takes no heartbeat") == 1).await;
    shop.consul.start_again();
    shop.registered().await;
    assert_eq!(shop.logged("Consul takes no heartbeat"), 1, "once, not at every try");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_follow_the_list_and_end_where_they_began() {
    let consul = Consul::start();
    let (first, second) = (Warehouse::start(), Warehouse::start());
    consul.name(WAREHOUSE, &first.addr());
    // A call that is held is waited for.
    let patient = |spec: WorkerSpec| spec.env("ORDER_WORKER_WAREHOUSE_TIMEOUT", "60s");
    let shop = Shop::start_with("consul_follows", consul, patient).await;
    shop.instances(1.0).await;
    shop.pay().await;
    assert_eq!((first.calls().len(), shop.configured()), (1, 0));

    // Moves: the call in flight ends at the old one, the next goes to the new one.
    let gate = Gate::new();
    first.set(Behaviour::Held(gate.clone()));
    let moved = async {
        wait::until("the call", SOON, async || first.calls().len() == 2).await;
        shop.consul.name(WAREHOUSE, &second.addr());
        shop.consul.unname(WAREHOUSE, &first.addr());
        wait::until("the move", SOON, async || shop.consul.passing(WAREHOUSE).len() == 1).await;
        gate.open();
    };
    tokio::join!(shop.pay(), moved);
    assert_eq!((first.confirmed().len(), second.calls().len()), (2, 0), "what was in flight was answered");
    shop.instances(1.0).await;
    // What was in hand when the list changed may still go to the old one, and for a moment both may have been named.
    let five = async || {
        let before = first.calls().len();
        for _ in 0..5 {
            shop.pay().await;
        }
        first.calls().len() == before
    };
    wait::until("calls to go to the new one alone", SOON, five).await;
    assert!(five().await && !second.calls().is_empty(), "nothing new goes to one that is no longer named");

    // Two share the calls.
    first.set(Behaviour::Answer);
    shop.consul.name(WAREHOUSE, &first.addr());
    shop.instances(2.0).await;
    let (was_first, was_second) = (first.calls().len(), second.calls().len());
    wait::until("both to be called", SOON, async || {
        shop.pay().await;
        first.calls().len() > was_first && second.calls().len() > was_second
    })
    .await;

    // Nobody: the configured endpoint, and back.
    shop.consul.unname(WAREHOUSE, &first.addr());
    shop.consul.unname(WAREHOUSE, &second.addr());
    shop.instances(0.0).await;
    wait::until("calls to go to the configured endpoint", SOON, async || {
        shop.pay().await;
        shop.configured() > 0
    })
    .await;
    assert_eq!(shop.logged("Consul names nobody, the configured endpoint is used"), 1);
    shop.consul.name(WAREHOUSE, &second.addr());
    shop.instances(1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_consul_from_the_start_the_configured_endpoint_is_called_until_it_comes() {
    let consul = Consul::start();
    consul.stop();
    let shop = Shop::start("consul_absent", consul).await;
    shop.pay().await;
    assert_eq!(shop.configured(), 1);
    assert_eq!(shop.scene.worker.metric("order_worker_consul_up").await, 0.0);
    assert_eq!(shop.scene.worker.get("/readyz").await.unwrap().0, 200);
    let other = Warehouse::start();
    shop.consul.name(WAREHOUSE, &other.addr());
    shop.consul.start_again();
    shop.registered().await;
    shop.instances(1.0).await;
    wait::until("calls to go to the one that is named", SOON, async || {
        shop.pay().await;
        !other.calls().is_empty()
    })
    .await;
    assert_eq!(shop.logged("Consul names no instances"), 1, "once, not at every try");
    assert_eq!(shop.logged("Consul does not register this worker"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_consul_does_payments_go_through() {
    let consul = Consul::start();
    let named = Warehouse::start();
    consul.name(WAREHOUSE, &named.addr());
    let shop = Shop::start("consul_faults", consul).await;
    shop.instances(1.0).await;
    // The query that waits is woken, so that the next one meets the fault; its answer changes nothing.
    let wake = || {
        shop.consul.name(WAREHOUSE, &named.addr());
    };
    for fault in [
        Fault::Flap,
        Fault::NoLeader,
        Fault::Garbage,
        Fault::Huge,
        Fault::Backwards,
        Fault::Slow(Duration::from_secs(1)),
        Fault::Hang,
    ] {
        shop.consul.set(fault);
        wake();
        let calls = shop.consul.calls().len();
        let met = async || shop.consul.calls().len() >= calls + 3;
        wait::until_or("some calls to meet the fault", SOON, || format!("{fault:?}"), met).await;
        let seconds = Instant::now();
        let before = named.calls().len();
        shop.pay().await;
        assert_eq!(
            named.calls().len(),
            before + 1,
            "{fault:?}: the last list is used\n{}",
            shop.scene.worker.log_tail()
        );
        let asked = shop.consul.calls().len() - calls;
        assert!(asked < 60 + 30 * usize::try_from(seconds.elapsed().as_secs()).unwrap(), "{fault:?}: {asked} calls");
        assert_eq!(shop.scene.worker.get("/readyz").await.unwrap().0, 200, "{fault:?}");
        shop.consul.set(Fault::None);
    }
    assert_eq!(shop.configured(), 0);

    // Away at the end: the stop does not wait for it.
    shop.consul.set(Fault::Hang);
    shop.scene.worker.terminate();
    let began = Instant::now();
    assert!(shop.scene.worker.wait_exit(SOON).await.success());
    // Below the grace period, and no longer than the farewell lasts.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(shop.logged("Not deregistered, Consul will notice"), 1);
    assert_eq!(shop.logged("error=no answer in 2s"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_a_consul_that_died_is_used_for_its_time_and_no_longer() {
    let consul = Consul::start();
    let named = Warehouse::start();
    consul.name(WAREHOUSE, &named.addr());
    let stale = |spec: WorkerSpec| spec.env("ORDER_WORKER_CONSUL_STALEAFTER", "15s");
    let shop = Shop::start_with("consul_stale", consul, stale).await;
    shop.instances(1.0).await;
    shop.consul.stop();
    shop.pay().await;
    assert_eq!((named.calls().len(), shop.configured()), (1, 0));
    shop.instances(0.0).await;
    named.stop();
    shop.pay().await;
    assert_eq!(shop.configured(), 1);
}

/// Pays 200 orders at once; how long it took until all their reservations were confirmed.
async fn reservations(shop: &Shop, prefix: &str) -> Duration {
    let orders: Vec<String> = (0..200).map(|n| format!("{prefix}{n}")).collect();
    shop.scene.shop.place(&orders).await;
    let began = Instant::now();
    for order in &orders {
        shop.scene.confirm(&format!("e-{order}"), &format!("p-{order}"), order).await;
    }
    let settled = async || shop.scene.shop.unsettled().await == 0;
    wait::until_or("all reservations", SOON, || shop.scene.worker.log_tail(), settled).await;
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_accepts_and_stays_silent_holds_up_nothing() {
    // It takes connections, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (first, second) = (Warehouse::start(), Warehouse::start());
    let consul = Consul::start();
    for addr in [first.addr(), second.addr()] {
        consul.name(WAREHOUSE, &addr);
    }
    let shop = Shop::start("consul_silent", consul).await;
    shop.instances(2.0).await;
    let without = reservations(&shop, "a").await;
    shop.consul.name(WAREHOUSE, &silent.local_addr().unwrap().to_string());
    shop.instances(3.0).await;
    let with = reservations(&shop, "b").await;
    assert_not_held_up(without, with);
    // A call or two may be late on a busy machine; a third of them all would have gone to it.
    let retries = async || shop.scene.worker.metric("order_worker_queue_retries_total").await;
    let before = retries().await;
    assert!(before < 10.0, "{before} calls were tried again");

    // One that was well falls silent: what it has in hand is lost after the time of one call, and no more is sent to it.
    first.set(Behaviour::Hang);
    let fallen = reservations(&shop, "c").await;
    assert_not_held_up(without + ONE_CALL, fallen);
    // Once for all that it had in hand, and perhaps once more when it was tried again.
    let told = shop.logged("Instance is left alone");
    assert!((1..5).contains(&told), "{told}: {}", shop.scene.worker.log_tail());
    let before = retries().await;
    let left_alone = reservations(&shop, "d").await;
    assert_not_held_up(without, left_alone);
    let again = retries().await - before;
    assert!(again < 10.0, "{again} calls were tried again");

    // It is well again, and gets calls again.
    first.set(Behaviour::Answer);
    let called = first.calls().len();
    let again = async || {
        shop.pay().await;
        first.calls().len() > called + 1
    };
    wait::until_or("it to be called again", SOON, || shop.scene.worker.log_tail(), again).await;
}

/// Frames of HTTP/2 by their type that a client sends through it.
async fn frames_to(addr: String) -> (String, std::sync::Arc<std::sync::Mutex<Vec<u8>>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let frames = seen.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = tokio::net::TcpStream::connect(&addr).await.unwrap();
            let ((mut from, mut back), (mut answers, mut to)) = (client.into_split(), server.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut answers, &mut back).await });
            let frames = frames.clone();
            tokio::spawn(async move {
                let mut preface = [0; 24];
                from.read_exact(&mut preface).await?;
                to.write_all(&preface).await?;
                loop {
                    let mut head = [0; 9];
                    from.read_exact(&mut head).await?;
                    // An answer to a PING is none.
                    if head[3] != 6 || head[4] & 1 == 0 {
                        frames.lock().unwrap().push(head[3]);
                    }
                    let mut body = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
                    from.read_exact(&mut body).await?;
                    to.write_all(&[&head[..], &body].concat()).await?;
                }
                #[expect(unreachable_code, reason = "names the type of the errors")]
                Ok::<(), std::io::Error>(())
            });
        }
    });
    (at, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_that_takes_its_time_is_not_pinged_meanwhile() {
    let warehouse = Warehouse::start();
    warehouse.set(Behaviour::Slow(Duration::from_secs(32)));
    let (at, frames) = frames_to(warehouse.addr()).await;
    let scene = Scene::start_with("slow_warehouse", |mut spec| {
        spec.warehouse_addr = Some(at);
        spec.env("ORDER_WORKER_WAREHOUSE_TIMEOUT", "45s")
    })
    .await;
    scene.shop.place_one("o1").await;
    scene.confirm("e1", "p1", "o1").await;
    wait::until_or("the answer", SOON, || scene.worker.log_tail(), async || scene.shop.unsettled().await == 0).await;
    assert_eq!(warehouse.confirmed().len(), 1);
    let pings = frames.lock().unwrap().iter().filter(|kind| **kind == 6).count();
    // A gRPC server with the defaults bears two within five minutes.
    assert!(pings <= 2, "{pings} pings");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_and_the_doctor_says_what_consul_lacks() {
    let consul = Consul::start();
    consul.require_token("hunter2");
    let shop = Shop::start_with("consul_token", consul, |spec| spec.env("CONSUL_HTTP_TOKEN", "hunter2")).await;
    shop.registered().await;
    assert!(!shop.scene.worker.logs().contains("hunter2"));
    let warehouse = format!("{WAREHOUSE}:1");
    let doctor = async |addr: &str, token: &str| {
        let env = [
            ("DATABASE_URL", shop.scene.worker.spec().database_url.as_str()),
            ("CONSUL_ADDR", addr),
            ("CONSUL_HTTP_TOKEN", token),
            ("ORDER_EXTERNALSERVICES_WAREHOUSESERVICE_GRPCENDPOINT", &warehouse),
        ];
        let output = run(WORKER, &["doctor", "-o", "json"], &env).await;
        let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let about = findings.as_array().unwrap().iter().find(|one| one["about"] == "Consul").unwrap().clone();
        (about["state"].as_str().unwrap().to_owned(), about["seen"].to_string() + &about["next"].to_string())
    };
    let addr = shop.consul.addr();
    let (state, said) = doctor(&addr, "wrong").await;
    assert!(state == "broken" && said.contains("403") && !said.contains("hunter2"), "{state}: {said}");
    let (state, said) = doctor(&addr, "hunter2").await;
    assert!(state == "warning" && said.contains("no instance of localhost"), "{state}: {said}");
    shop.consul.name(WAREHOUSE, "127.0.0.1:9");
    assert_eq!(doctor(&addr, "hunter2").await.0, "ok");
    let (state, said) = doctor("127.0.0.1:1", "hunter2").await;
    assert!(state == "broken" && said.contains("127.0.0.1:1"), "{state}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Consul agent: make test-consul"]
async fn a_real_agent_takes_the_worker_and_names_it_the_warehouse() {
    let consul = RealConsul::start().await;
    let put = async |path: &str, body: &str| {
        let (status, said) = http::call(consul.port(), "PUT", path, body).await.unwrap();
        assert_eq!(status, 200, "{said}");
    };
    let listed = async |query: &str| -> serde_json::Value {
        let path = format!("/v1/health/service/{SERVICE}?{query}");
        serde_json::from_str(&http::get(consul.port(), &path).await.unwrap().1).unwrap()
    };
    let addr = consul.addr();
    let scene = Scene::start_with("consul_real", |mut spec| {
        spec.warehouse_addr = spec.warehouse_addr.map(|addr| addr.replace("127.0.0.1", WAREHOUSE));
        spec.env("CONSUL_ADDR", addr).env("ORDER_WORKER_CONSUL_TTL", "2s")
    })
    .await;
    let passes = async || Some(listed("passing").await).filter(|all| all.as_array().unwrap().len() == 1);
    let all = wait::until_or("the worker to pass", SOON, || scene.worker.log_tail(), passes).await;
    let (service, port) = (&all[0]["Service"], scene.worker.eventbus_port());
    assert_eq!((service["Port"].as_u64(), service["Tags"][0].as_str()), (Some(port.into()), Some("version=v1.0.0")));
    assert_eq!(service["TaggedAddresses"]["grpc"]["Address"], format!("grpc://127.0.0.1:{port}"));
    // The node's, TCP, TTL.
    assert_eq!(all[0]["Checks"].as_array().unwrap().len(), 3);

    let named = Warehouse::start();
    let (_, named_port) = named.addr().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
    let entry = format!(r#"{{"ID": "w1", "Name": "{WAREHOUSE}", "Address": "127.0.0.1", "Port": {named_port}}}"#);
    put("/v1/agent/service/register", &entry).await;
    let instances = async |count: f64| scene.worker.metric("order_worker_warehouse_instances").await == count;
    wait::until("the instance", SOON, async || instances(1.0).await).await;
    scene.shop.place_one("o1").await;
    scene.confirm("e1", "p1", "o1").await;
    scene.settled().await;
    assert_eq!((named.calls().len(), scene.direct.warehouse.calls().len()), (1, 0));
    put("/v1/agent/service/deregister/w1", "").await;
    wait::until("nobody to be named", SOON, async || instances(0.0).await).await;
    scene.shop.place_one("o2").await;
    scene.confirm("e2", "p2", "o2").await;
    scene.settled().await;
    assert_eq!(scene.direct.warehouse.calls().len(), 1);

    // The agent loses the worker, and has it again.
    put(&format!("/v1/agent/service/deregister/order-worker-127.0.0.1-{port}"), "").await;
    let again = async || scene.worker.logs().matches("Registered with Consul").count() == 2;
    wait::until_or("it to register again", SOON, || scene.worker.log_tail(), again).await;
    scene.worker.terminate();
    assert!(scene.worker.wait_exit(SOON).await.success());
    assert_eq!(listed("").await, serde_json::json!([]));
}
