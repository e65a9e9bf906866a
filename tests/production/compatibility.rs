//! Other versions of what the worker stands on: the tests of tests/it, run on them.

use std::path::PathBuf;
use std::process::Command;

use rig::run_dir::checkout;

/// A program that tools/production/setup.sh has brought.
fn brought(path: &str) -> PathBuf {
    let path = checkout().join("target").join(path).canonicalize();
    path.unwrap_or_else(|error| panic!("target/…: {error}: make test-production brings it"))
}

fn version(program: &PathBuf) -> String {
    String::from_utf8(Command::new(program).arg("--version").output().unwrap().stdout).unwrap().trim().to_owned()
}

/// Runs these tests of tests/it with a variable set, and asks that at least so many have passed.
fn passes(variable: &str, value: &PathBuf, tests: &[&str], at_least: usize) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(checkout()).env(variable, value).args([
        "test",
        "--locked",
        "--features",
        "failpoints,production",
        "--test",
        "it",
        "--",
    ]);
    let output = cargo.args(tests).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let passed = printed.lines().filter(|line| line.starts_with("test ") && line.ends_with("... ok")).count();
    assert!(
        output.status.success(),
        "{variable}={}\n{printed}\n{}",
        value.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(passed >= at_least, "only {passed} of these tests are there any more:\n{printed}");
}

#[test]
fn the_main_path_migrations_jobs_and_tls_hold_on_postgres_18() {
    let bin = brought("postgres-18/native/bin");
    assert!(version(&bin.join("postgres")).starts_with("postgres (PostgreSQL) 18."));
    let tests =
        ["main_path::", "migrations::", "adoption::", "partitions::", "cron::", "operations::", "replay::", "tls::"];
    passes("POSTGRES_BIN", &bin, &tests, 50);
}

#[test]
fn events_announcements_tokens_outages_and_reconciliation_hold_with_dapr_1_17() {
    let daprd = brought("daprd-1.17.0/daprd");
    assert_eq!(version(&daprd), "1.17.0");
    let tests = [
        "ingress::a_real_sidecar",
        "secrets::an_app_token",
        "an_hour_of_a_real_sidecar",
        "crashes::a_sidecar_that_is_killed",
        "crashes::a_redis_that_is_killed",
        "reconcile::",
    ];
    passes("DAPRD", &daprd, &tests, 8);
}
