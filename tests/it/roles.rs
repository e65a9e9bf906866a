//! Two roles: the migrator owns everything, the worker may do its work and no more.

use rig::postgres::Postgres;
use rig::stack::Direct;
use rig::wait;
use rig::worker::run;
use sqlx::AssertSqlSafe;

use crate::cron::every_second;
use crate::main_path::WORKER;
use crate::migrations::Migrated;
use crate::scene::{SOON, confirmation};
use crate::shop::Shop;

/// A database of the role `<name>_owner`, migrated by it for the role `<name>_worker`.
pub struct Roles {
    pub owner: Shop,
    pub worker: Shop,
    pub worker_url: String,
    pub said: String,
}

/// `own_tables` are made by the owner before the migration.
pub async fn two_roles(name: &str, own_tables: &str) -> Roles {
    let postgres = Postgres::shared().await;
    let database = postgres.database(name).await.rsplit('/').next().unwrap().to_owned();
    let (owner, worker) = (format!("{name}_owner"), format!("{name}_worker"));
    let superuser = Shop::open(&postgres.url(&database)).await;
    superuser
        .execute(&format!(
            "create role {owner} login; create role {worker} login; alter database {database} owner to {owner}"
        ))
        .await;
    let (owner_url, worker_url) = (postgres.url_as(&owner, &database), postgres.url_as(&worker, &database));
    let owner = Shop::open(&owner_url).await;
    if !own_tables.is_empty() {
        owner.execute(own_tables).await;
    }
    let env = [("MIGRATE_DATABASE_URL", owner_url.as_str()), ("DATABASE_URL", worker_url.as_str())];
    let migrated = Migrated::run(&[], &env).await;
    assert_eq!(migrated.code, 0, "{}", migrated.stderr);
    Roles { owner, worker: Shop::open(&worker_url).await, worker_url, said: migrated.stdout }
}

impl Roles {
    /// Gives every job something to do, and waits until it is done.
    async fn cleaned_up(&self) {
        let order = "insert into orders (id, order_number, status, payment_method, delivered, currency, total_amount, created_at, updated_at)";
        self.owner
            .execute(&format!(
                "insert into sessions values ('s1', null, now() - interval '2 days');
                 insert into carts values ('c1', null, false, now() - interval '8 days');
                 insert into cart_items values ('c1', 'SKU-1', 1);
                 {order} values ('unpaid', 'N1', 'pending', 'CARD', false, 'USD', 1, now() - interval '2 days', now()),
                                ('cod', 'N2', 'pending', 'COD', true, 'USD', 1, now() - interval '2 days', now()),
                                ('unused', 'N3', 'payment_failed', 'CARD', false, 'USD', 1, now() - interval '2 days', now());
                 insert into order_items (order_id, sku, quantity, reservation_id) values ('unused', 'SKU-1', 1, 'res-unused')"
            ))
            .await;
        let left = "select (select count(*) from sessions) + (select count(*) from carts) + (select count(*) from cart_items)
                        + (select count(*) from orders where status = 'pending')
                        + (select count(*) from order_items where reservation_id = 'res-unused' and reservation_status is null)";
        wait::until("the jobs to clean up", SOON, async || self.owner.count(left).await == 0).await;
        assert_eq!(
            (self.owner.status("unpaid").await, self.owner.status("cod").await),
            ("cancelled".into(), "confirmed".into())
        );
    }
}

/// The main path and the jobs as the runtime role: applied, announced, confirmed at the warehouse, partitions made.
async fn works(name: &str, roles: &Roles) {
    roles.owner.place_one("o1").await;
    // Next week's partition is missing: the worker, which may create nothing, has it made.
    let next_week = "from order_worker.partitions() where journal = 'inbox' and lower <= order_worker.today() + 7 and upper > order_worker.today() + 7";
    let drop = format!("do $$ begin execute 'drop table order_worker.' || (select name {next_week}); end $$");
    roles.owner.execute(&drop).await;
    let mut direct = Direct::start(name, WORKER).await;
    direct.worker.database_url = roles.worker_url.clone();
    direct.worker = every_second(direct.worker.env("ORDER_DATA_REDIS_ADDR", ""));
    let (worker, callback) = direct.worker().await;
    callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    roles.worker.settled(SOON).await;
    assert_eq!(roles.worker.history("o1").await, ["payment_confirmed"], "{}", worker.log_tail());
    assert_eq!(direct.sidecar.count(), 1);
    assert_eq!(direct.warehouse.confirmed().len(), 1);
    let status = "select reservation_status from order_items where order_id = $1";
    assert_eq!(roles.worker.text(status, "o1").await, "confirmed");
    roles.cleaned_up().await;
    let made = format!("select count(*) {next_week}");
    let made = async || {
        let counted = sqlx::query_scalar::<_, i64>(AssertSqlSafe(made.clone())).fetch_one(&roles.owner.pool).await;
        counted.unwrap() == 1
    };
    wait::until_or("next week's partition", SOON, || worker.log_tail(), made).await;
    worker.terminate();
    assert!(worker.wait_exit(SOON).await.success());
    let complaints: Vec<_> = worker
        .logs()
        .lines()
        .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "))
        .map(str::to_owned)
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runtime_role_passes_the_main_path() {
    let roles = two_roles("least_rights", "").await;
    assert!(roles.said.contains("granted the runtime rights to least_rights_worker\n"), "{}", roles.said);
    works("least_path", &roles).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runtime_role_sees_all_that_the_doctor_looks_at_and_what_row_level_security_holds_back() {
    let own = "create table orders (id text primary key, order_number text, user_id text, status text, payment_method text,
                   delivered boolean, currency text, total_amount numeric, created_at timestamptz, updated_at timestamptz);
               alter table orders enable row level security;
               create policy everyone on orders for select using (true);
               create policy own on orders for update using (user_id = current_setting('shop.user', true))";
    let roles = two_roles("guarded", own).await;
    let note = "row-level security of public.orders may hold rows back from guarded_worker (update)";
    assert!(roles.said.contains(note), "{}", roles.said);
    let doctor = async || {
        let output = run(WORKER, &["doctor"], &[("DATABASE_URL", &roles.worker_url)]).await;
        String::from_utf8(output.stdout).unwrap()
    };
    let told = doctor().await;
    assert!(told.contains(note) && told.contains("none stands behind the rows that use it"), "{told}");
    assert!(!told.contains("permission denied"), "{told}");
    roles.owner.execute("create policy worker on orders to guarded_worker using (true)").await;
    let told = doctor().await;
    assert!(told.contains("holds no rows back from this role"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runtime_role_may_use_the_serial_of_an_adopted_history() {
    let own = "create table orders (id text primary key, order_number text, user_id text, status text, payment_method text,
                   delivered boolean, currency text, total_amount numeric, created_at timestamptz, updated_at timestamptz);
               create table order_status_history (id bigserial primary key, order_id text, old_status text, new_status text,
                   reason text, notes text, created_at timestamptz)";
    works("serial_path", &two_roles("serial", own).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runtime_role_can_neither_rewrite_what_was_written_nor_change_tables() {
    let roles = two_roles("refused", "").await;
    let mut statements: Vec<String> = vec![
        "delete from orders".into(),
        "delete from order_status_history".into(),
        "update order_status_history set reason = ''".into(),
        "delete from order_worker.inbox_keys".into(),
        "update order_worker.legal_moves set new_status = 'delivered'".into(),
        "update order_worker.schema_support set oldest_worker = 0".into(),
        "delete from order_worker.payment_facts".into(),
        "delete from order_worker.audit_log".into(),
        "update order_worker.audit_log set actor = 'nobody'".into(),
        "insert into order_worker.audit_log (id, actor, role, action, target, detail, previous, hash)
         values (1, 'a', 'a', 'a', 'a', '{}', sha256(''), sha256(''))"
            .into(),
        "drop schema order_worker cascade".into(),
        "create table public.mine (id int)".into(),
        "create table order_worker.mine (id int)".into(),
        "create or replace function order_worker.today() returns date language sql return date '2020-01-01'".into(),
    ];
    for journal in ["inbox", "outbox", "inbox_outcomes", "outbox_outcomes"] {
        statements.push(format!("update order_worker.{journal} set id = 0"));
        statements.push(format!("delete from order_worker.{journal}"));
        statements.push(format!("delete from order_worker.{journal}_default"));
        statements.push(format!("truncate order_worker.{journal}"));
    }
    for table in ["public.orders", "order_worker.inbox", "order_worker.pending"] {
        statements.push(format!("drop table {table}"));
        statements.push(format!("alter table {table} add column mine int"));
        statements.push(format!("create index on {table} (id)"));
    }
    for statement in statements {
        let refused = sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&roles.worker.pool).await;
        let code = refused.err().and_then(|e| e.into_database_error()?.code().map(|code| code.into_owned()));
        assert_eq!(code.as_deref(), Some("42501"), "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_its_rights_says_so_and_takes_no_event() {
    let postgres = Postgres::shared().await;
    let direct = Direct::start("no_rights", WORKER).await;
    let shop = Shop::open(&direct.worker.database_url).await;
    shop.execute("create role no_rights_worker login").await;
    let database = direct.worker.database_url.rsplit('/').next().unwrap().to_owned();
    let mut spec = direct.worker.clone();
    spec.database_url = postgres.url_as("no_rights_worker", &database);
    let worker = rig::worker::Worker::spawn(spec);
    let line =
        "Waiting for the runtime rights: error=error returned from database: permission denied for schema order_worker";
    wait::until_or("the log line", SOON, || worker.log_tail(), async || worker.logs().contains(line)).await;
    assert_eq!(worker.get("/readyz").await.unwrap().0, 503);
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", worker.eventbus_port())).await.is_err());
}
