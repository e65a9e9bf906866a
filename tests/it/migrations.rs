//! `order-worker migrate`, and a worker that meets a schema which is not there yet, or is newer than itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rig::postgres::Postgres;
use rig::stack::Direct;
use rig::wait;
use rig::worker::{Worker, WorkerSpec, run};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};
use tokio::net::TcpStream;

use crate::main_path::WORKER;
use crate::scene::SOON;
use crate::shop::Shop;

/// What a run of `order-worker migrate` came to.
#[derive(Debug)]
pub struct Migrated {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Migrated {
    /// Runs `order-worker migrate` with these arguments and variables.
    pub async fn run(args: &[&str], env: &[(&str, &str)]) -> Migrated {
        let args: Vec<&str> = ["migrate"].iter().chain(args).copied().collect();
        let output = run(WORKER, &args, env).await;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Migrated { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Of one database, which has to succeed.
    #[track_caller]
    pub fn of(url: &str) -> impl Future<Output = String> {
        let place = std::panic::Location::caller();
        async move {
            let migrated = Migrated::run(&[], &[("DATABASE_URL", url)]).await;
            assert_eq!(migrated.code, 0, "at {place}: {}", migrated.stderr);
            migrated.stdout
        }
    }
}

/// How many migrations there are, which is the number of the newest.
pub fn newest() -> usize {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.split_once('_')?.0.parse().ok()).max().unwrap()
}

/// The migrations: their names without the ending, and their texts.
fn files() -> BTreeMap<String, String> {
    let files = std::fs::read_dir("migrations").unwrap().map(|file| file.unwrap().path());
    let sql = files.filter(|path| path.extension().is_some_and(|extension| extension == "sql"));
    sql.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect()
}

/// What each migration was when it was written, as a sha256.
const WRITTEN: &[(&str, &str)] = &[
    ("0001_shared", "cc7074e9174e358049cea09131390324d712d4511b6cc4da9de5546303fe349a"),
    ("0002_engine", "c3b422255bbe1ed1702019e623036afc3ce559579ca558f11bf1c574ed29b569"),
    ("0003_shop", "da2899f10a0e00ed4b21e27b75e328320320fc4d34dc6ebdd4e583e9cc7b050a"),
    ("0004_views", "2bfbc1ef65328e11bd155dff80fb00afaa021aa9a0621f023fa353790a87463e"),
];

#[test]
fn migrations_are_never_edited() {
    for (name, text) in files() {
        let hash = hex::encode(Sha256::digest(&text));
        match WRITTEN.iter().find(|(written, _)| *written == name) {
            Some((_, written)) => assert_eq!(
                hash, *written,
                "migrations/{name}.sql was edited: a database that has run it keeps what it made, and `order-worker migrate` refuses \
                 that database. Take the edit back, and write a new migration"
            ),
            None => panic!("migrations/{name}.sql is new: add (\"{name}\", \"{hash}\") to WRITTEN in this test"),
        }
    }
    for (name, _) in WRITTEN {
        assert!(files().contains_key(*name), "migrations/{name}.sql is gone: databases that have run it want it there");
    }
}

#[test]
fn the_readme_beside_the_migrations_names_each_of_them() {
    let readme = std::fs::read_to_string("migrations/README.md").unwrap();
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let named: Vec<&str> = rows.map(|(name, _)| name).filter(|name| *name != "file").collect();
    assert_eq!(named, files().into_keys().collect::<Vec<_>>(), "the table of migrations/README.md, and the files");
}

#[test]
fn migrations_name_no_source_files_and_the_engines_says_nothing_of_the_shop() {
    for (name, text) in files() {
        let shop: &[&str] = match name.as_str() {
            "0002_engine" => &["order_id", "orders", "payment", "reservation", "warehouse", "dapr"],
            _ => &[],
        };
        for (n, line) in text.to_lowercase().lines().enumerate() {
            let place = format!("migrations/{name}.sql, line {}", n + 1);
            assert!(!line.contains("src/"), "{place} names a source file: those move, and a migration is never edited");
            for word in shop {
                assert!(
                    !line.contains(word),
                    "{place}, says `{word}`: the engine knows no shop, and what it must be told of it comes as a subject, a \
                     reference, a channel or a kind of incident (migrations/README.md)"
                );
            }
        }
    }
}

/// An empty database and its URL.
async fn empty(name: &str) -> (String, Shop) {
    let url = Postgres::shared().await.database(name).await;
    let shop = Shop::open(&url).await;
    (url, shop)
}

const RELATIONS: &str = "select count(*) from pg_class where relnamespace in (
    select oid from pg_namespace where nspname in ('public', 'order_worker'))";

#[tokio::test(flavor = "multi_thread")]
async fn two_migrations_at_once_both_succeed_and_make_the_schema_once() {
    let (url, shop) = empty("at_once").await;
    let (first, second) = tokio::join!(Migrated::of(&url), Migrated::of(&url));
    let applied = |out: &String| out.lines().filter(|line| line.starts_with("applied ")).count();
    let mut counts = [applied(&first), applied(&second)];
    counts.sort_unstable();
    assert_eq!(counts, [0, newest()], "one applies all, the other finds it done:\n{first}{second}");
    let succeeded = shop.count("select count(*) from order_worker._sqlx_migrations where success").await;
    assert_eq!(usize::try_from(succeeded).unwrap(), newest());
    assert_eq!(Migrated::of(&url).await, "the schema is up to date\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_it_would_do_and_changes_nothing() {
    let (url, shop) = empty("dry_run").await;
    shop.execute("create role dry_run_worker login").await;
    let owner = [("MIGRATE_DATABASE_URL", url.as_str()), ("DATABASE_URL", "postgres://dry_run_worker@127.0.0.1/x")];
    let would = Migrated::run(&["--dry-run"], &owner).await;
    assert_eq!((would.code, would.stderr.as_str()), (0, ""));
    let lines: Vec<&str> = would.stdout.lines().collect();
    assert_eq!(lines[..2], ["would apply 0001 shared", "would apply 0002 engine"]);
    assert_eq!(lines[newest()..], ["would grant the runtime rights to dry_run_worker"]);
    assert_eq!(shop.count(RELATIONS).await, 0);
    assert_eq!(shop.count("select count(*) from pg_namespace where nspname = 'order_worker'").await, 0);

    Migrated::of(&url).await;
    let then = Migrated::run(&["--dry-run"], &[("DATABASE_URL", &url)]).await;
    assert_eq!((then.code, then.stdout.as_str()), (0, "the schema is up to date\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_told_in_one_line_with_a_hint() {
    let away = [("DATABASE_URL", "postgres://owner:hunter2@127.0.0.1:1/orders")];
    let migrated = Migrated::run(&[], &away).await;
    assert_eq!((migrated.code, migrated.stdout.as_str()), (1, ""));
    let lines: Vec<&str> = migrated.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", migrated.stderr);
    assert!(lines[0].contains("onnection refused") && lines[1].starts_with("hint: "), "{}", migrated.stderr);
    assert!(!migrated.stderr.contains("hunter2"), "{}", migrated.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_comes_before_the_schema_waits_for_it_and_goes_on_by_itself() {
    let mut direct = Direct::start("before", WORKER).await;
    let (url, _) = empty("before_schema").await;
    direct.worker.database_url = url.clone();
    let worker = Worker::spawn(direct.worker.clone());
    let line =
        format!("Waiting for the schema: no schema yet, version {} is needed: run `order-worker migrate`", newest());
    wait::until_or("the log line", SOON, || worker.log_tail(), async || worker.logs().contains(&line)).await;
    assert_eq!(worker.get("/healthz").await.unwrap().0, 200);
    let (ready, why) = worker.get("/readyz").await.unwrap();
    assert_eq!(ready, 503, "{why}");
    let says = async || worker.get("/readyz").await.is_ok_and(|(_, why)| why.contains("run `order-worker migrate`"));
    wait::until("/readyz to say why", SOON, says).await;
    assert!(TcpStream::connect(("127.0.0.1", worker.eventbus_port())).await.is_err(), "the event port is open");

    Migrated::of(&url).await;
    worker.wait_ready().await;
    TcpStream::connect(("127.0.0.1", worker.eventbus_port())).await.unwrap();
    // A migration that takes its time is seen on its way, each state once.
    assert_eq!(worker.logs().matches(&line).count(), 1, "said once");
}

/// A migrated database whose schema says that it is version 99, for workers that know version `oldest` at the least.
async fn newer(name: &str, oldest: i64) -> Direct {
    let direct = Direct::start(name, WORKER).await;
    let shop = Shop::open(&direct.worker.database_url).await;
    shop.execute(&format!(
        "insert into order_worker._sqlx_migrations (version, description, success, checksum, execution_time)
         values (99, 'of a later worker', true, '', 0);
         update order_worker.schema_support set oldest_worker = {oldest}"
    ))
    .await;
    direct
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_supports_this_worker_no_longer_ends_it() {
    let direct = newer("unsupported", 99).await;
    let worker = Worker::spawn(direct.worker.clone());
    let status = worker.wait_exit(SOON).await;
    let line = format!(
        "schema version 99 wants a worker that knows version 99, this one knows {}: deploy a newer worker",
        newest()
    );
    let last = worker.logs().lines().last().unwrap_or_default().to_owned();
    assert_eq!((status.code(), last), (Some(1), format!("order-worker: error: {line}")));

    let migrated = Migrated::run(&[], &[("DATABASE_URL", &direct.worker.database_url)]).await;
    assert_eq!((migrated.code, migrated.stderr), (1, format!("order-worker: error: {line}\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_that_still_supports_this_worker_is_used_and_left_as_it_is() {
    let direct = newer("supported", 1).await;
    let (worker, _) = direct.worker().await;
    assert!(!worker.logs().contains("schema"), "{}", worker.log_tail());
    // As after a roll-back: the older release's job migrates again.
    let said = Migrated::of(&direct.worker.database_url).await;
    let note = "note: the schema is at version 99, newer than this order-worker: left as it is\n";
    assert_eq!(said, format!("the schema is up to date\n{note}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stops_while_it_waits_for_the_schema() {
    let (url, _) = empty("never_migrated").await;
    let worker = Worker::spawn(WorkerSpec::new(WORKER, &url, 1));
    wait::until("it to wait", SOON, async || worker.logs().contains("Waiting for the schema")).await;
    worker.terminate();
    assert_eq!(worker.wait_exit(SOON).await.code(), Some(0));
}

/// Every `.sql` file below `src`.
fn statements(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            statements(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            found.push(path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_in_a_file_can_be_prepared_and_begins_with_its_name() {
    let direct = Direct::start("statements", WORKER).await;
    let shop = Shop::open(&direct.worker.database_url).await;
    let mut files = Vec::new();
    statements(Path::new("src"), &mut files);
    assert!(files.len() > 15, "{files:?}");
    let mut connection = shop.pool.acquire().await.unwrap();
    for file in files {
        let sql = std::fs::read_to_string(&file).unwrap();
        let folder = file.parent().and_then(Path::parent).and_then(Path::file_name).unwrap().to_str().unwrap();
        let name = format!("-- {folder}/{}: ", file.file_stem().unwrap().to_str().unwrap());
        assert!(sql.starts_with(&name), "{} begins with another comment than {name:?}", file.display());
        // Several statements, with a role's name in them: run by every migration of a test with two roles.
        if name.contains("/grants:") {
            continue;
        }
        let prepared = connection.prepare(AssertSqlSafe(sql).into_sql_str()).await;
        assert!(prepared.is_ok(), "{}: {:?}", file.display(), prepared.err());
    }
}
