//! The command line and the configuration, as a user meets them.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};

use tempfile::NamedTempFile;

/// The program with an empty environment.
fn order_worker(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_order-worker"));
    command.env_clear().args(args).stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn file(yaml: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), yaml).unwrap();
    file
}

/// Runs and expects a refusal: exit code 2, nothing on stdout, an error line and a hint line that
/// contain these words.
#[track_caller]
fn refused(command: &mut Command, words: &[&str]) {
    let (code, stdout, stderr) = run(command);
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    assert!(lines[0].starts_with("order-worker: error: "), "{stderr}");
    assert!(lines[1].starts_with("hint: "), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is missing in {stderr}");
    }
}

const DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://w:hunter2@127.0.0.1:1/orders");

#[test]
fn the_version_is_told_with_one_dash_and_with_two() {
    for flag in ["-version", "--version", "-V"] {
        let told = run(&mut order_worker(&[flag]));
        assert_eq!(told, (0, "order-worker v1.0.0\n".to_owned(), String::new()));
    }
}

#[test]
fn help_shows_examples_and_exit_codes() {
    for args in [
        ["-help"].as_slice(),
        &["--help"],
        &["migrate", "--help"],
        &["config", "print", "-help"],
        &["cron", "run", "-help"],
        &["queue", "pause", "--help"],
    ] {
        let (code, stdout, stderr) = run(&mut order_worker(args));
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(stdout.contains("Examples:") && stdout.contains("Exit codes"), "{args:?}: {stdout}");
        assert!(!stdout.contains('\u{1b}'), "{stdout}");
    }
}

#[test]
fn a_wrong_mode_is_refused_with_the_three_names() {
    let mut command = order_worker(&["-mode", "both"]);
    refused(command.envs([DATABASE]), &["both", "cron", "event", "all"]);
}

#[test]
fn a_job_that_could_not_run_is_refused_with_its_key_and_the_reason() {
    let refused_by = |variable: &str, value: &str, words: &[&str]| {
        refused(
            order_worker(&["-mode", "cron"]).envs([DATABASE, (variable, value)]),
            &[&[variable, value], words].concat(),
        );
    };
    let schedule = "ORDER_WORKER_CRON_CARTCLEANUP_SCHEDULE";
    refused_by(schedule, "61 * * * *", &["worker.cron.cart_cleanup.schedule", "five fields"]);
    refused_by(schedule, "0 0 30 2 *", &["no day is like that"]);
    refused_by("ORDER_WORKER_CRON_CARTCLEANUP_BATCH", "0", &["worker.cron.cart_cleanup.batch", "1 to 10000"]);
    refused_by("ORDER_WORKER_CRON_CARTCLEANUP_ENABLED", "maybe", &["true or false"]);
    refused_by("ORDER_WORKER_CRON_TIMEZONE", "Europe/Atlantis", &["worker.cron.time_zone", "no such time zone"]);
    let mut command = order_worker(&["-mode", "cron"]);
    command.envs([DATABASE, ("ORDER_WORKER_CRON_CARTCLEANUPS_BATCH", "5")]);
    refused(&mut command, &["did you mean ORDER_WORKER_CRON_CARTCLEANUP_BATCH"]);
    let unknown = file("worker:\n  cron:\n    cart_clean_up:\n      batch: 5\n");
    let mut command = order_worker(&["-conf", unknown.path().to_str().unwrap()]);
    refused(command.envs([DATABASE]), &["worker.cron.cart_clean_up", ":3", "cart_cleanup"]);
    refused(
        &mut order_worker(&["cron", "run", "cart_cleanups"]),
        &["session_cleanup, cart_cleanup", "did you mean cart_cleanup?"],
    );
}

#[test]
fn a_console_that_everybody_could_reach_is_refused_without_users() {
    let mut command = order_worker(&["config", "check"]);
    command.envs([DATABASE, ("ORDER_WORKER_CONSOLE_ADDR", ":8082")]);
    refused(&mut command, &["worker.console.addr", "worker.console.users", "everybody who reaches it"]);
    let mut command = order_worker(&["config", "check"]);
    command.envs([DATABASE, ("ORDER_WORKER_CONSOLE_USERS", "ada:operator:secret")]);
    refused(&mut command, &["ORDER_WORKER_CONSOLE_USERS", "the hash of ada is no argon2 hash"]);
}

#[test]
fn a_missing_database_is_refused() {
    for args in [["-mode", "all"].as_slice(), &["config", "check"], &["migrate"]] {
        refused(&mut order_worker(args), &["data.database.source is missing", "DATABASE_URL"]);
    }
}

#[test]
fn a_file_that_is_not_there_or_not_yaml_is_refused() {
    refused(&mut order_worker(&["-conf", "/nowhere.yaml"]), &["/nowhere.yaml", "No such file"]);
    let broken = file("worker: [\n");
    refused(&mut order_worker(&["-conf", broken.path().to_str().unwrap()]), &["error: file "]);
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_name() {
    let misspelled = file("worker:\n  eventbus:\n    adr: ':5005'\n");
    let path = misspelled.path().to_str().unwrap();
    for args in [["-conf", path].as_slice(), &["config", "check", "--conf", path]] {
        refused(
            &mut order_worker(args),
            &["worker.eventbus.adr is no key", &format!("{path}:3"), "worker.eventbus.addr?"],
        );
    }
}

#[test]
fn an_unknown_variable_is_refused_and_those_of_kubernetes_are_not() {
    let mut misspelled = order_worker(&["config", "check"]);
    misspelled.envs([DATABASE, ("ORDER_WORKER_EVENTBUS_ADRR", ":5")]);
    refused(&mut misspelled, &["ORDER_WORKER_EVENTBUS_ADRR", "mean ORDER_WORKER_EVENTBUS_ADDR?"]);

    let mut services = order_worker(&["config", "check"]);
    services.envs([
        DATABASE,
        ("ORDER_SERVICE_HOST", "10.0.0.1"),
        ("ORDER_SERVICE_PORT", "8000"),
        ("ORDER_WORKER_PORT_8081_TCP_ADDR", "10.0.0.2"),
    ]);
    assert_eq!(run(&mut services).0, 0);
}

#[test]
fn nothing_is_opened_before_the_configuration_is_checked() {
    // Both ports are taken: a worker that opened one would fail for that, with exit code 1.
    let taken: Vec<_> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addrs: Vec<SocketAddr> = taken.iter().map(|port| port.local_addr().unwrap()).collect();
    let mut command = order_worker(&["-mode", "all"]);
    command.envs([DATABASE, ("ORDER_WORKER_QUEUE_LEASE", "8s")]).envs([
        ("ORDER_WORKER_EVENTBUS_ADDR", addrs[0].to_string()),
        ("ORDER_WORKER_ADMIN_ADDR", addrs[1].to_string()),
    ]);
    refused(&mut command, &["idle_in_transaction_timeout", "must be below worker.queue.lease"]);
}

#[test]
fn print_shows_each_value_and_its_origin_and_no_secret() {
    let conf = file("worker:\n  queue:\n    lease: 20s\ndata:\n  redis:\n    password: hunter2\n");
    let path = conf.path().to_str().unwrap();
    let mut command = order_worker(&["config", "print", "-conf", path]);
    let (code, stdout, stderr) = run(command.envs([DATABASE]));
    assert_eq!((code, stderr.as_str()), (0, ""));
    let row = |key: &str| {
        let line = stdout.lines().find(|line| line.starts_with(&format!("{key} "))).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("worker.queue.lease"), format!("20s file {path}:3"));
    assert_eq!(row("worker.admin.addr"), ":8081 default");
    assert_eq!(row("data.redis.password"), format!("*** file {path}:6"));
    assert_eq!(row("data.database.source"), "postgres://w:***@127.0.0.1:1/orders environment DATABASE_URL");
    assert!(!stdout.contains("hunter2") && !stdout.contains('\u{1b}'), "{stdout}");

    let mut command = order_worker(&["config", "print", "-o", "json"]);
    let (code, stdout, _) = run(&mut command);
    let settings: Vec<serde_json::Value> = serde_json::from_str(&stdout).unwrap();
    let first = &settings[0];
    assert_eq!(code, 0);
    assert_eq!(
        (&first["key"], &first["value"], &first["from"], &first["variable"]),
        (&"server.http.addr".into(), &":8000".into(), &"default".into(), &"ORDER_SERVER_HTTP_ADDR".into())
    );
}

#[test]
fn the_default_file_is_printed_as_it_stands_and_can_be_used() {
    let (code, stdout, _) = run(&mut order_worker(&["config", "print", "--default"]));
    assert_eq!((code, stdout.as_str()), (0, include_str!("../../configs/config.yaml")));
    let copy = file(&stdout);
    let mut check = order_worker(&["config", "check", "-conf", copy.path().to_str().unwrap()]);
    assert_eq!(run(check.envs([DATABASE])).0, 0);
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    for args in [["config", "print"].as_slice(), &["config", "print", "-o", "json"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = order_worker(args);
        assert_eq!(run(command.stdout(writer)), (0, String::new(), String::new()), "{args:?}");
    }
}

#[test]
fn a_bad_migration_url_is_refused_without_showing_it() {
    let mut command = order_worker(&["migrate"]);
    command.env("MIGRATE_DATABASE_URL", "postgres://owner:hun#ter2@db/orders");
    let (code, _, stderr) = run(&mut command);
    assert_eq!(code, 2);
    assert!(stderr.contains("MIGRATE_DATABASE_URL") && !stderr.contains("ter2"), "{stderr}");
}
