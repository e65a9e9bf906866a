//! The image without a container engine: its build step in a clean copy of the sources, its files as the root of a sandbox.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use rig::payment::{CONFIRMED, confirmed, json};
use rig::publisher::Message;
use rig::run_dir::{RunDir, checkout};
use rig::stack::Stack;
use rig::wait;
use rig::worker::Worker;

const LIMIT: Duration = Duration::from_secs(60);

pub fn ran(command: &mut Command) -> Output {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: make test-production installs it"));
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    output
}

pub fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Copies what `.dockerignore` lets into the build.
fn sources(to: &Path) {
    let ignore = fs::read_to_string(checkout().join(".dockerignore")).unwrap();
    let allowed: Vec<&str> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let mut list = Command::new("git");
    list.current_dir(checkout()).args(["ls-files", "--cached", "--others", "--exclude-standard", "--"]).args(allowed);
    for file in lines(&ran(&mut list)) {
        let (from, to) = (checkout().join(&file), to.join(&file));
        if from.is_file() {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).unwrap();
        }
    }
}

/// Runs the Dockerfile's build step below `dir`; the files of the image. What cargo built stays there for the next time.
fn build(dir: &Path) -> PathBuf {
    let (src, root) = (dir.join("src"), dir.join("root"));
    for old in [&src, &root] {
        let _ = fs::remove_dir_all(old);
    }
    sources(&src);
    let mut command = Command::new(build_step());
    command.current_dir(&src).arg(&root).env("CARGO_TARGET_DIR", dir.join("target")).env_remove("RUSTFLAGS");
    command.env("PATH", format!("{}:{}", tools().display(), std::env::var("PATH").unwrap()));
    ran(&mut command);
    root
}

/// Where `make test-production` puts cargo's own tools.
pub fn tools() -> PathBuf {
    checkout().canonicalize().unwrap().join("target/tools/bin")
}

/// The files of the image, built once for all tests.
pub fn image() -> PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| build(&checkout().canonicalize().unwrap().join("target/image"))).clone()
}

/// The script that the Dockerfile runs, as it names it there.
fn build_step() -> String {
    let dockerfile = fs::read_to_string(checkout().join("Dockerfile")).unwrap();
    let line = dockerfile.lines().find(|line| line.trim().ends_with(" /image")).unwrap();
    line.trim().strip_suffix(" /image").unwrap().to_owned()
}

/// Adds what the runtime image brings: the C library, libgcc, places for /proc and /dev.
fn complete(root: &Path) {
    for line in lines(&ran(Command::new("ldd").arg(root.join("app/bin/worker")))) {
        if let Some(library) = line.split_whitespace().find(|word| word.starts_with('/')) {
            let to = root.join(library.trim_start_matches('/'));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(library, to).unwrap();
        }
    }
    for place in ["proc", "dev"] {
        fs::create_dir_all(root.join(place)).unwrap();
    }
}

/// A program that runs /app/bin/worker with `root` as its read-only root, as user 65532 without capabilities.
fn sandboxed(root: &Path, dir: &RunDir) -> PathBuf {
    let script = format!(
        "#!/bin/sh\nexec bwrap --ro-bind '{}' / --proc /proc --dev /dev --unshare-user --unshare-pid --unshare-ipc \
         --uid 65532 --gid 65532 --cap-drop ALL --die-with-parent /app/bin/worker \"$@\"\n",
        root.display()
    );
    dir.write("worker", &script);
    let path = dir.path().join("worker");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_takes_an_event_to_its_announcement_read_only_and_as_nobody() {
    let dir = RunDir::new("image");
    let root = image();
    complete(&root);
    let worker = sandboxed(&root, &dir);
    let version = lines(&ran(Command::new(&worker).arg("--version")));
    assert_eq!(version, [format!("order-worker v{}", env!("CARGO_PKG_VERSION"))]);
    ran(Command::new(&worker)
        .args(["config", "check", "-conf", "/app/configs/config.yaml"])
        .env("DATABASE_URL", "postgres://w@db/orders"));

    // Its own `migrate` makes the schema.
    let mut stack = Stack::start("image", &worker).await;
    stack.worker.args = ["-conf", "/app/configs/config.yaml"].map(str::to_owned).into();
    let url = stack.worker.database_url.clone();
    let shop = sqlx::PgPool::connect(&url).await.unwrap();
    rig::orders::place(&shop, &["o1".to_owned()]).await;
    let running = Worker::start(stack.worker.clone()).await;
    let message = Message::new(CONFIRMED, "e1", json(&confirmed("p1", "o1", "10.10")));
    stack.publisher.publish(&message).await.unwrap();
    wait::until_or("the announcement", LIMIT, || running.log_tail(), async || stack.subscriber.count() == 1).await;

    let inside = fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let port = running.admin_port().to_string();
        let environment = fs::read(entry.path().join("environ")).ok()?;
        let ours = line.starts_with(b"/app/bin/worker\0") && String::from_utf8_lossy(&environment).contains(&port);
        ours.then_some(status)
    });
    let status = inside.expect("the worker inside the sandbox");
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    let doctor = Command::new(&worker)
        .arg("doctor")
        .env("DATABASE_URL", &url)
        .env("REDIS_ADDR", stack.redis.addr())
        .env("DAPR_GRPC_PORT", stack.daprd.grpc_port().to_string())
        .output()
        .unwrap();
    let seen = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(seen.contains("fits this order-worker"), "{seen}");
}

#[test]
fn the_same_sources_make_the_same_bytes_in_another_place() {
    let elsewhere = std::env::temp_dir().join("order-worker-image/elsewhere/deeper");
    let [one, other] = [image(), build(&elsewhere)].map(|root| fs::read(root.join("app/bin/worker")).unwrap());
    assert!(one == other, "two builds differ: {} and {} bytes", one.len(), other.len());
    let text = String::from_utf8_lossy(&one);
    let here = checkout().canonicalize().unwrap();
    assert!(!text.contains(here.to_str().unwrap()), "the binary names the directory it was built in");
}

#[test]
fn the_dockerfile_is_clean_and_starts_the_worker_as_production_does() {
    ran(Command::new(checkout().join("target/hadolint/bin/hadolint")).current_dir(checkout()).arg("Dockerfile"));
    let dockerfile = fs::read_to_string(checkout().join("Dockerfile")).unwrap();
    for line in [
        "USER 65532:65532",
        "ENTRYPOINT [\"/app/bin/worker\"]",
        "CMD [\"-conf\", \"/app/configs/config.yaml\", \"-mode\", \"all\"]",
    ] {
        assert!(dockerfile.lines().any(|known| known == line), "{line}");
    }
    let toolchain = fs::read_to_string(checkout().join("rust-toolchain.toml")).unwrap();
    let pinned = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"');
    assert!(dockerfile.contains(&format!("ARG RUST_VERSION={pinned}\n")), "the Dockerfile's Rust is not {pinned}");
}
