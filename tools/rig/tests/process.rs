//! Child processes: logs, signals, restarts.

use rig::process::{Process, Spec};
use rig::run_dir::RunDir;
use rig::wait::{self, SOON};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

fn shell(dir: &RunDir, script: &str) -> Process {
    Process::spawn(Spec::new("shell", Path::new("/bin/sh"), dir.path(), ["-c", script]))
}

fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

#[tokio::test]
async fn a_process_is_stopped_continued_ended_and_started_again() {
    let dir = RunDir::new("process");
    let process = shell(&dir, "trap 'echo bye; exit 3' TERM; echo hello; while :; do sleep 0.02; done");
    wait::until("its first line", SOON, async || process.log().contains("hello")).await;
    process.stop();
    wait::until("it to sleep", SOON, async || state(process.pid()) == Some('T')).await;
    process.cont();
    process.terminate();
    assert_eq!(process.wait_exit(SOON).await.code(), Some(3));
    process.restart();
    wait::until("its second life", SOON, async || process.log().matches("hello").count() == 2).await;
    process.kill9();
    assert!(!process.is_running());
    assert_eq!(process.wait_exit(SOON).await.signal(), Some(9));
    assert!(process.log_tail().contains("bye"));
}

#[tokio::test]
async fn a_dropped_process_takes_its_children_along() {
    let dir = RunDir::new("process");
    let process = shell(&dir, "sleep 1000 & echo $!; wait");
    let child = wait::until("its child", SOON, async || process.log().trim().parse::<u32>().ok()).await;
    drop(process);
    wait::until("the child's end", SOON, async || !matches!(state(child), Some('S' | 'R'))).await;
}

#[test]
fn a_process_outlives_the_thread_that_asked_for_it() {
    let dir = RunDir::new("process");
    let process = std::thread::scope(|scope| scope.spawn(|| shell(&dir, "sleep 1000")).join().unwrap());
    assert!(process.is_running());
}
