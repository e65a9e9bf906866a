//! Every query of the dashboard and of the alerts on a real Prometheus that scraped a real worker and its real sidecar under load.

use std::collections::BTreeSet;
use std::time::Duration;

use rig::behaviour::Behaviour;
use rig::chart::{self, NAMESPACE, only, rendered};
use rig::consul::Consul;
use rig::daprd::{Daprd, DaprdSpec};
use rig::payment::{CONFIRMED, confirmed, json};
use rig::plan::Plan;
use rig::prometheus::{Prometheus, Target};
use rig::publisher::Message;
use rig::stack::Stack;
use rig::worker::Worker;
use rig::{ports, wait};
use serde_json::Value;
use sqlx::PgPool;
use tonic::Code;

const WORKER: &str = env!("CARGO_BIN_EXE_order-worker");
const LIMIT: Duration = Duration::from_secs(60);

/// The selectors `metric{…}` of an expression.
fn selectors(expression: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (open, _) in expression.match_indices('{') {
        let name = expression[..open].rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).next();
        let close = open + expression[open..].find('}').unwrap();
        found.insert(format!("{}{}", name.unwrap(), &expression[open..=close]));
    }
    found
}

/// The queries of the dashboard, `title` and expression, as Grafana would send them.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&chart::read("helm/order-worker/files/dashboard.json")).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap().replace("$namespace", NAMESPACE);
            let expression = expression.replace("$__rate_interval", "1m").replace("$__range", "1h");
            assert!(!expression.contains('$'), "{expression}");
            queries.push((panel["title"].as_str().unwrap().to_owned(), expression));
        }
    }
    queries
}

/// A worker and its sidecar as the chart's PodMonitor sees them, and the sidecar of another pod, which has no resiliency policy.
struct Scene {
    stack: Stack,
    worker: Worker,
    prometheus: Prometheus,
    /// The other pod's.
    bare: DaprdSpec,
    _consul: Consul,
}

impl Scene {
    async fn start(rules: &Value) -> Scene {
        let metrics = |port: u16| ["--enable-metrics=true".to_owned(), "--metrics-port".to_owned(), port.to_string()];
        let (ours, others) = (ports::free(), ports::free());
        let mut stack = Stack::start_with("dashboard", WORKER, |daprd| daprd.args.extend(metrics(ours))).await;
        // A name, so that Consul is asked for it.
        stack.worker.warehouse_addr = stack.worker.warehouse_addr.map(|addr| addr.replace("127.0.0.1", "localhost"));
        let mut bare = DaprdSpec::new("order-worker-bare", &stack.redis.addr());
        bare.with_resiliency = false;
        // What it delivers has come already.
        bare.app_port = Some(stack.worker.eventbus_port);
        bare.args.extend(metrics(others));
        let mut spec = stack.worker.clone().env("ORDER_WORKER_RECONCILE_EVERY", "1s");
        for job in ["SESSIONCLEANUP", "CARTCLEANUP", "ORDERCLEANUP", "RESERVATIONCLEANUP", "CODAUTOCONFIRM"] {
            spec = spec.env(&format!("ORDER_WORKER_CRON_{job}_SCHEDULE"), "* * * * * *");
        }
        let consul = Consul::start();
        let worker = Worker::start(spec.env("CONSUL_ADDR", consul.addr())).await;

        let monitor = only(&rendered(&chart::values("everything")), "PodMonitor")["spec"].clone();
        let endpoint = |n: usize, port: u16, pod: &str| {
            let endpoint = &monitor["podMetricsEndpoints"][n];
            let job = endpoint["relabelings"][0]["replacement"].as_str().unwrap().to_owned();
            Target {
                path: endpoint["path"].as_str().unwrap().to_owned(),
                port,
                labels: vec![("job", job), ("namespace", NAMESPACE.to_owned()), ("pod", pod.to_owned())],
                honor_labels: endpoint["honorLabels"] == true,
            }
        };
        let targets = [endpoint(0, worker.admin_port(), "a"), endpoint(1, ours, "a"), endpoint(1, others, "b")];
        let prometheus = Prometheus::start(&targets, rules).await;
        Scene { stack, worker, prometheus, bare, _consul: consul }
    }

    /// Something of everything: payments, repeated and nonsensical ones, jobs with something to do, a warehouse that refuses and fails,
    /// an event that Dapr drops. Then the other sidecar begins, and delivers everything once more.
    async fn load(&self) -> Daprd {
        let pool = PgPool::connect(&self.stack.worker.database_url).await.unwrap();
        let plan = Plan::new("d", 400, 7);
        rig::orders::place(&pool, &plan.orders.keys().cloned().collect::<Vec<_>>()).await;
        let old = "insert into sessions (id, updated_at) select n::text, now() - interval '2 days' from generate_series(1, 50) n;
                   insert into carts (id, checked_out, updated_at) select n::text, false, now() - interval '8 days' from generate_series(1, 50) n;
                   insert into orders (id, order_number, status, payment_method, currency, total_amount, created_at)
                   select 'old-' || n, 'old-' || n, 'pending', 'CARD', 'USD', 1, now() - interval '2 days' from generate_series(1, 50) n;
                   insert into orders (id, order_number, status, payment_method, delivered, currency, total_amount)
                   select 'cod-' || n, 'cod-' || n, 'pending', 'COD', true, 'USD', 1 from generate_series(1, 50) n;
                   insert into orders (id, order_number, status, payment_method, currency, total_amount) values ('slow', 'slow', 'pending', 'CARD', 'USD', 1);
                   insert into order_items (order_id, sku, quantity, reservation_id, reserved_at, reservation_status)
                   values ('slow', 'SKU-1', 1, 'res-slow', now() - interval '1 hour', 'reserved')";
        sqlx::raw_sql(old).execute(&pool).await.unwrap();
        let warehouse = &self.stack.warehouse;
        for order in plan.orders.keys().take(20) {
            warehouse.behaviours().set_for(format!("res-{order}"), Behaviour::Refuse(Code::FailedPrecondition));
        }
        warehouse.set(Behaviour::Flap(50));
        self.stack.daprd.wait_subscribed(CONFIRMED).await;
        plan.publish(&self.stack.publisher, 4, || ()).await;
        let event = |id: &str, payment: &str, order: &str| {
            Message::new(CONFIRMED, id, json(&confirmed(payment, order, "10.10")))
        };
        for message in [event("twice", "p-a", "d-0"), event("twice", "p-b", "d-1")] {
            self.stack.publisher.publish(&message).await.unwrap();
        }

        // What is published while the sidecar is away, and passed over by its group, is dropped: reconciliation takes it.
        self.stack.daprd.kill9();
        self.stack.publisher.publish(&event("dropped", "p-dropped", "d-2")).await.unwrap();
        let mut redis = self.stack.redis.connect().await.unwrap();
        let mut passed_over = redis::cmd("XGROUP");
        passed_over.arg("SETID").arg(CONFIRMED).arg("order-worker").arg("$");
        let () = passed_over.query_async(&mut redis).await.unwrap();
        self.stack.daprd.restart().await;
        warehouse.set(Behaviour::Answer);
        let saved = async || self.worker.metric("order_worker_reconcile_saved_total").await >= 1.0;
        wait::until_or("the dropped event", LIMIT, || self.worker.log_tail(), saved).await;
        let pending = "select count(*) from order_worker.pending where state in ('ready', 'waiting', 'blocked') and queue <> 'cron'";
        let settled = async || sqlx::query_scalar::<_, i64>(pending).fetch_one(&pool).await.unwrap() == 0;
        wait::until_or("all of it to be done", LIMIT, || self.worker.log_tail(), settled).await;
        let other = Daprd::start(self.bare.clone()).await;
        // Payments go on until Prometheus has seen enough of them for rates.
        let mut n = 0;
        let seen = async || {
            n += 1;
            let order = format!("late-{n}");
            rig::orders::place(&pool, std::slice::from_ref(&order)).await;
            self.stack.publisher.publish(&event(&order, &order, &order)).await.unwrap();
            let samples = self.prometheus.query(r#"count_over_time(up{job="order-worker"}[1m])"#).await.unwrap();
            samples.first().is_some_and(|(_, count)| *count >= 15.0)
        };
        wait::until("fifteen looks of Prometheus", LIMIT, seen).await;
        other
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_dashboard_and_alerts_finds_what_it_asks_for() {
    let rules = only(&rendered(&chart::values("everything")), "PrometheusRule")["spec"].clone();
    let scene = Scene::start(&rules).await;
    let _other = scene.load().await;
    let prometheus = &scene.prometheus;

    let mut empty = Vec::new();
    for (title, expression) in queries() {
        let series =
            prometheus.query(&expression).await.unwrap_or_else(|error| panic!("{title}: {expression}: {error}"));
        let has_data = series.iter().any(|(_, number)| number.is_finite());
        if !has_data {
            empty.push(format!("{title}: {expression}: {series:?}"));
        }
    }
    assert!(empty.is_empty(), "panels without data:\n{}", empty.join("\n"));

    // Alerts are silent when nothing is wrong, so it is what they select that has to be there.
    let mut missing = Vec::new();
    for rule in rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        for selector in selectors(rule["expr"].as_str().unwrap()) {
            if prometheus.query(&selector).await.unwrap().is_empty() {
                missing.push(format!("{}: {selector}", rule["alert"]));
            }
        }
    }
    assert!(missing.is_empty(), "there is nothing of what these rules ask for:\n{}", missing.join("\n"));
    for rule in prometheus.rules().await {
        assert_eq!(rule["health"], "ok", "{rule}");
    }

    // The pod whose sidecar has no policy, and no other.
    let alert = |name: &str| {
        let all = rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
        all.into_iter().find(|rule| rule["alert"] == name).unwrap()["expr"].as_str().unwrap().to_owned()
    };
    let unprotected = alert("OrderWorkerResiliencyPolicyMissing");
    let noticed = async || {
        let series = prometheus.query(&unprotected).await.unwrap();
        let pods: Vec<&str> = series.iter().map(|(labels, _)| labels["pod"].as_str().unwrap()).collect();
        assert!(!pods.contains(&"a"), "{series:?}");
        pods == ["b"]
    };
    wait::until("the sidecar without a policy to be noticed", LIMIT, noticed).await;

    // What KEDA asks.
    let scaled = rendered(&["--set".to_owned(), "autoscaling.type=keda".to_owned()]);
    let query = only(&scaled, "ScaledObject")["spec"]["triggers"][0]["metadata"]["query"].clone();
    let age = prometheus.query(query.as_str().unwrap()).await.unwrap();
    assert_eq!(age.len(), 1, "one number, whatever the backlog: {age:?}");
}
