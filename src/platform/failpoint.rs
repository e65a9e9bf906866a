//! Places between two steps at which a test can stop this process, to see what becomes of what it had in hand. Outside tests
//! (feature `failpoints`) nothing is left of them.
//!
//! `FAILPOINTS="apply-before-commit=3*off->1*return"` ends the process, as SIGKILL would, at the fourth passage;
//! `return(stop)` sends it SIGSTOP instead, and it goes on where it was after SIGCONT.

/// The process has come to this place.
pub(crate) fn reach(place: &'static str) {
    let _ = place;
    fail::fail_point!(place, |how| act(place, how.as_deref()));
}

/// Lets the environment variable `FAILPOINTS` say what happens where, for as long as the process lives.
#[cfg(feature = "failpoints")]
pub fn arm() {
    std::mem::forget(fail::FailScenario::setup());
}

#[cfg(feature = "failpoints")]
fn act(place: &str, how: Option<&str>) {
    use std::io::Write;
    // One write: in the tests' file the log would come between the pieces of several.
    let _ = std::io::stderr().write_all(format!("failpoint {place} reached\n").as_bytes());
    let signal = if how == Some("stop") { "-STOP" } else { "-KILL" };
    let _ = std::process::Command::new("kill").args([signal, &std::process::id().to_string()]).status();
    // A stop reaches this thread a moment after the others, and on a busy machine that moment is long enough for the next step.
    std::thread::sleep(std::time::Duration::from_millis(200));
}
