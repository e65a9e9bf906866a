//! A process whose clock is off.

use std::path::{Path, PathBuf};

use crate::worker::WorkerSpec;

/// The worker with its clock moved by `offset` ("+2h", "-2h"), through libfaketime (`make setup` installs it). Times of its own,
/// as pauses, go on as they are.
pub fn shifted(spec: WorkerSpec, offset: &str) -> WorkerSpec {
    spec.env("LD_PRELOAD", libfaketime().display()).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", 1)
}

/// The environment of a process whose clock is moved by what the file says ("+0", "+1d"), whenever that changes.
pub(crate) fn moved_by(file: &Path) -> Vec<(String, String)> {
    [
        ("LD_PRELOAD", libfaketime().display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ("NO_FAKE_STAT", "1".into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn libfaketime() -> PathBuf {
    let dirs = ["/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/local/lib"];
    let found =
        dirs.map(|dir| PathBuf::from(dir).join("faketime/libfaketime.so.1")).into_iter().find(|path| path.exists());
    found.expect("libfaketime.so.1 is missing: run `make setup`")
}
