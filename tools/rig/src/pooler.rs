//! A PgBouncer before a database: Debian's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::net::TcpStream;

use crate::postgres::reachable_dir;
use crate::process::{Process, Spec};
use crate::run_dir::RunDir;
use crate::wait::SOON;
use crate::{ports, wait};

/// A PgBouncer on a free loopback port that lets everybody in as whom they say they are.
#[derive(Debug)]
pub struct Pooler {
    process: Process,
    port: u16,
    ini: PathBuf,
    _dir: RunDir,
}

impl Pooler {
    /// Starts one in this `pool_mode`, with more lines for its section `pgbouncer`.
    pub async fn start(database_url: &str, pool_mode: &str, lines: &[&str]) -> Pooler {
        // It refuses to run as root.
        let user = rustix::process::geteuid().is_root().then(|| "postgres".to_owned());
        let (dir, port) = (reachable_dir("pgbouncer", user.as_deref()), ports::free());
        let (role, host, server_port, database) = parts(database_url);
        let ini = dir.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n{database} = host={host} port={server_port} dbname={database}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {pool_mode}\n{}\n",
            dir.path().join("userlist.txt").display(),
            lines.join("\n"),
        );
        fs::write(&ini, text).unwrap();
        fs::write(dir.path().join("userlist.txt"), format!("\"{}\" \"\"\n", role)).unwrap();
        let mut spec = Spec::new("pgbouncer", Path::new("/usr/sbin/pgbouncer"), dir.path(), [ini.as_os_str()]);
        if let Some(user) = &user {
            let owned = Command::new("chown").args(["-R", &format!("{user}:{user}")]).arg(dir.path()).status().unwrap();
            assert!(owned.success());
        }
        spec.user = user;
        let pooler = Pooler { process: Process::spawn(spec), port, ini, _dir: dir };
        wait::until_or(
            "pgbouncer",
            SOON,
            || pooler.process.log_tail(),
            async || TcpStream::connect(("127.0.0.1", port)).await.is_ok(),
        )
        .await;
        pooler
    }

    /// The same database's URL through it.
    pub fn url(&self, database_url: &str) -> String {
        let (role, _, _, database) = parts(database_url);
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// Changes its configuration while it runs.
    pub fn reconfigure(&self, from: &str, to: &str) {
        let text = fs::read_to_string(&self.ini).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&self.ini, text.replace(from, to)).unwrap();
        self.process.signal(rustix::process::Signal::HUP);
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// Role, host, port and database of a URL without a password.
fn parts(url: &str) -> (&str, &str, &str, &str) {
    let (role, rest) = url.trim_start_matches("postgres://").split_once('@').unwrap();
    let (server, database) = rest.split_once('/').unwrap();
    let (host, port) = server.split_once(':').unwrap();
    (role, host, port, database)
}
