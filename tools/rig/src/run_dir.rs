//! The directory of one started thing: its data, its rendered configuration, its log.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// `target/rig/<name>-<pid>-<n>/`. Removed on drop, unless a test is failing just then, or [`keep`] was called: its logs are wanted.
/// What an earlier process left behind is removed too: its data at once, its logs after an hour.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
}

static SWEPT: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static COUNT: AtomicU32 = AtomicU32::new(0);
static MADE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static KEPT: AtomicBool = AtomicBool::new(false);

/// The checkout's root.
pub fn checkout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// From now on this process removes none of its directories.
pub fn keep() {
    KEPT.store(true, Ordering::Relaxed);
}

/// The directories of this process that are still there.
pub fn made() -> Vec<PathBuf> {
    MADE.lock().unwrap().iter().filter(|path| path.is_dir()).cloned().collect()
}

impl RunDir {
    /// A new directory under `target/rig/` of the checkout.
    pub fn new(name: &str) -> RunDir {
        RunDir::within(&checkout().join("target/rig"), name)
    }

    /// A new directory under another parent: for a server whose user cannot reach the checkout.
    pub fn within(parent: &Path, name: &str) -> RunDir {
        let mut swept = SWEPT.lock().unwrap();
        if !swept.iter().any(|known| known == parent) {
            sweep(parent);
            swept.push(parent.to_owned());
        }
        drop(swept);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("{name}-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).unwrap_or_else(|e| panic!("cannot create {}: {e}", path.display()));
        let path = path.canonicalize().unwrap();
        MADE.lock().unwrap().push(path.clone());
        RunDir { path }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into it and returns its path.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if !std::thread::panicking() && !KEPT.load(Ordering::Relaxed) {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let owner = entry.file_name().to_string_lossy().rsplit('-').nth(1).map(str::to_owned);
        let Some(owner) = owner.filter(|pid| pid.parse::<u32>().is_ok()) else {
            continue;
        };
        if Path::new("/proc").join(owner).exists() {
            continue;
        }
        let _ = fs::remove_dir_all(path.join("data"));
        let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
        if age.is_some_and(|age| age > Duration::from_secs(3600)) {
            let _ = fs::remove_dir_all(path);
        }
    }
}
