//! A throw-away Postgres cluster.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, postgres::PgConnectOptions};
use tokio::sync::{Mutex, OnceCell};

use crate::authority::Authority;
use crate::process::{Process, Spec};
use crate::run_dir::RunDir;
use crate::wait::SOON;
use crate::{clock, ports, wait};

/// A cluster of its own on a free loopback port: trust authentication, superuser `postgres`, fsync on.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    port: u16,
    count: AtomicU32,
    templates: Mutex<HashSet<String>>,
    dir: RunDir,
}

impl Postgres {
    /// Makes a cluster and starts it (about a second). For a test that stops or restarts it; others take [`shared`](Postgres::shared).
    pub async fn start() -> Postgres {
        Postgres::start_with(&[], &[], false).await
    }

    /// One whose clock can be moved ([`move_clock`](Postgres::move_clock)).
    pub async fn start_with_clock() -> Postgres {
        Postgres::start_with(&[], &[], true).await
    }

    /// Moves its clock by `offset` from the true time: "+1d", "+0".
    pub fn move_clock(&self, offset: &str) {
        fs::write(self.dir.path().join("clock"), offset).unwrap();
    }

    /// One that speaks TLS, with a certificate that `authority` has signed for `names`. Who comes as a user other than `postgres`
    /// has to show a certificate of `authority` with the user's name.
    pub async fn start_tls(authority: &Authority, names: &[&str]) -> Postgres {
        let identity = authority.sign(names);
        let access = "host all postgres 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 cert\n";
        let files = [
            ("server.crt", identity.cert.as_str()),
            ("server.key", &identity.key),
            ("ca.crt", authority.pem()),
            ("pg_hba.conf", access),
        ];
        let settings = ["ssl=on", "ssl_cert_file=server.crt", "ssl_key_file=server.key", "ssl_ca_file=ca.crt"];
        Postgres::start_with(&settings, &files, false).await
    }

    async fn start_with(settings: &[&str], files: &[(&str, &str)], with_clock: bool) -> Postgres {
        let bin = bin_dir();
        let user = rustix::process::geteuid().is_root().then(|| "postgres".to_owned());
        let dir = reachable_dir("postgres", user.as_deref());
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        if let Some(user) = &user {
            let chown = Command::new("chown").arg(format!("{user}:{user}")).arg(&data).status().unwrap();
            assert!(
                chown.success(),
                "cannot give {} to the user {user}: apt-get install postgresql creates it",
                data.display()
            );
        }
        initdb(&bin, &data, dir.path(), user.clone());
        for (name, text) in files {
            let path = data.join(name);
            fs::write(&path, text).unwrap();
            // The server refuses a key that others may read.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            if let Some(user) = &user {
                assert!(Command::new("chown").arg(format!("{user}:{user}")).arg(&path).status().unwrap().success());
            }
        }

        Postgres::run(&bin, dir, &data, user, settings, with_clock).await
    }

    async fn run(
        bin: &Path,
        dir: RunDir,
        data: &Path,
        user: Option<String>,
        settings: &[&str],
        with_clock: bool,
    ) -> Postgres {
        let port = ports::free();
        let mut args = vec!["-D".to_owned(), data.to_string_lossy().into_owned(), "-p".to_owned(), port.to_string()];
        for setting in [
            "listen_addresses=127.0.0.1",
            // A socket's path is at most 107 bytes: a checkout deep in the tree would not start.
            "unix_socket_directories=",
            "max_connections=200",
            "fsync=on",
            "synchronous_commit=on",
            "timezone=UTC",
            "log_line_prefix=%m [%p] %d ",
        ]
        .iter()
        .chain(settings)
        {
            args.extend(["-c".to_owned(), (*setting).to_owned()]);
        }
        let mut spec = Spec::new("postgres", &bin.join("postgres"), dir.path(), args);
        spec.user = user;
        if with_clock {
            let file = dir.path().join("clock");
            fs::write(&file, "+0").unwrap();
            // Set by `env`, as the user: libfaketime makes a semaphore, which root's would be no use of.
            let environment = clock::moved_by(&file).into_iter().map(|(name, value)| format!("{name}={value}").into());
            let program = std::mem::replace(&mut spec.program, "env".into());
            spec.args = environment.chain([program.into_os_string()]).chain(spec.args).collect();
        }
        let postgres = Postgres {
            process: Process::spawn(spec),
            port,
            count: AtomicU32::new(0),
            templates: Mutex::default(),
            dir,
        };
        postgres.wait_ready().await;
        postgres
    }

    /// The cluster that all tests of this process share; started by the first that asks.
    pub async fn shared() -> &'static Postgres {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(Postgres::start).await
    }

    /// A hot standby of it, with all that it has.
    pub async fn standby(&self) -> Postgres {
        let (bin, user) = (bin_dir(), self.process.user());
        let dir = reachable_dir("standby", user.as_deref());
        let data = dir.path().join("data");
        if let Some(user) = &user {
            assert!(Command::new("chown").arg(format!("{user}:{user}")).arg(dir.path()).status().unwrap().success());
        }
        let port = self.port.to_string();
        let args = ["-h", "127.0.0.1", "-U", "postgres", "-R", "-c", "fast", "-p", &port, "-D"].map(str::to_owned);
        let args = args.into_iter().chain([data.to_string_lossy().into_owned()]);
        let mut spec = Spec::new("pg_basebackup", &bin.join("pg_basebackup"), dir.path(), args);
        spec.user.clone_from(&user);
        let copied = tokio::task::spawn_blocking(move || spec.command().output().unwrap()).await.unwrap();
        assert!(copied.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&copied.stderr));
        Postgres::run(&bin, dir, &data, user, &[], false).await
    }

    /// Makes a primary of a standby.
    pub async fn promote(&self) {
        self.sql("select pg_promote()").await.unwrap();
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of one of its databases, as the superuser.
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", database)
    }

    /// The URL of one of its databases, as another role (no password is asked).
    pub fn url_as(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates an empty database whose name begins with `name`; returns its URL.
    pub async fn database(&self, name: &str) -> String {
        self.create(name, "template1").await
    }

    /// Creates a copy of a database that `make` has filled (given its URL) the first time that `template` was asked for: a
    /// migrated database in some 50 ms.
    pub async fn database_from(&self, template: &str, name: &str, make: impl AsyncFnOnce(String)) -> String {
        let mut templates = self.templates.lock().await;
        if !templates.contains(template) {
            self.sql(&format!("CREATE DATABASE \"{template}\"")).await.unwrap();
            make(self.url(template)).await;
            templates.insert(template.to_owned());
        }
        drop(templates);
        self.create(name, template).await
    }

    /// Stops it as a crash would (`immediate`: no checkpoint, recovery follows) and starts it again on the same port.
    pub async fn restart_immediate(&self) {
        self.stop().await;
        self.start_again().await;
    }

    /// Stops it as a crash would (`immediate`). Clients get refused connections until [`start_again`](Postgres::start_again).
    pub async fn stop(&self) {
        self.process.signal(Signal::QUIT);
        self.process.wait_exit(SOON).await;
    }

    /// Starts it on the same port and waits until it answers.
    pub async fn start_again(&self) {
        self.process.restart();
        self.wait_ready().await;
    }

    /// Ends every connection to the database (a name or a URL of it), as an operator or a failover would.
    pub async fn terminate_backends(&self, database: &str) -> u64 {
        let database = name_of(database);
        let mut connection = self.connect("postgres").await.unwrap();
        let ended = sqlx::query_scalar::<_, bool>(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
        )
        .bind(database)
        .fetch_all(&mut connection)
        .await
        .unwrap();
        ended.into_iter().filter(|ended| *ended).count() as u64
    }

    /// A connection to one of its databases, as the superuser.
    pub async fn connect(&self, database: &str) -> sqlx::Result<PgConnection> {
        PgConnectOptions::new()
            .host("127.0.0.1")
            .port(self.port)
            .username("postgres")
            .database(name_of(database))
            .connect()
            .await
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    async fn create(&self, name: &str, template: &str) -> String {
        let clean: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
            .take(50)
            .collect();
        let database = format!("{clean}_{}", self.count.fetch_add(1, Ordering::Relaxed));
        let sql = format!("CREATE DATABASE \"{database}\" TEMPLATE \"{template}\"");
        wait::until(&format!("a copy of the database {template}"), SOON, async || match self.sql(&sql).await {
            Ok(()) => true,
            // A connection to the template (55006) goes within moments; two copies at once wait for each other.
            Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("55006") => false,
            Err(e) => panic!("{sql}: {e}"),
        })
        .await;
        self.url(&database)
    }

    /// Runs a statement of the superuser's in the database `postgres`.
    pub async fn sql(&self, sql: &str) -> sqlx::Result<()> {
        let mut connection = self.connect("postgres").await?;
        connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
        connection.close().await
    }

    async fn wait_ready(&self) {
        wait::until_or(
            "Postgres to answer",
            SOON,
            || self.process.log_tail(),
            async || {
                assert!(self.process.is_running(), "Postgres ended\n{}", self.process.log_tail());
                self.sql("SELECT 1").await.is_ok()
            },
        )
        .await;
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its backends are no members of its process group; asked so, it ends them before its data is removed.
        self.process.signal(Signal::QUIT);
        for _ in 0..200 {
            if !self.process.is_running() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn name_of(database: &str) -> &str {
    let path = database.rsplit('/').next().unwrap_or(database);
    path.split('?').next().unwrap_or(path)
}

// Debian keeps the server's programs out of PATH. POSTGRES_BIN names those of another version.
fn bin_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("POSTGRES_BIN").filter(|dir| !dir.is_empty()) {
        return dir.into();
    }
    let versions =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let on_path =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let mut found: Vec<PathBuf> =
        versions.filter(|dir| dir.join("initdb").exists() && dir.join("postgres").exists()).collect();
    found.sort_by_key(|dir| {
        let version = dir.parent().and_then(Path::file_name).map(|v| v.to_string_lossy().into_owned());
        version.and_then(|v| v.parse::<u32>().ok()).unwrap_or(0)
    });
    found
        .pop()
        .or_else(|| on_path.into_iter().find(|dir| dir.join("initdb").exists() && dir.join("postgres").exists()))
        .expect("no Postgres server (initdb, postgres) in /usr/lib/postgresql/*/bin or PATH: run `make setup`")
}

// initdb refuses root, and the user that runs it instead cannot enter a checkout under /root.
/// A directory that another user can enter.
pub(crate) fn reachable_dir(name: &str, user: Option<&str>) -> RunDir {
    let dir = RunDir::new(name);
    let Some(user) = user else { return dir };
    let reaches = Command::new("setpriv")
        .args(["--reuid", user, "--regid", user, "--init-groups", "--", "test", "-x"])
        .arg(dir.path())
        .status()
        .expect("setpriv (util-linux) runs Postgres as another user than root");
    if reaches.success() { dir } else { RunDir::within(&std::env::temp_dir().join("order-worker-rig"), name) }
}

fn initdb(bin: &Path, data: &Path, dir: &Path, user: Option<String>) {
    let mut args: Vec<String> =
        ["--no-sync", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "-D"]
            .map(Into::into)
            .into();
    args.push(data.to_string_lossy().into_owned());
    let mut spec = Spec::new("initdb", &bin.join("initdb"), dir, args);
    spec.user = user;
    let output = spec.command().output().expect("cannot run initdb");
    assert!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));
}
