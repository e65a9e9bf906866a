//! A child process: its log in a file, its signals, and its end with the test that started it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::wait;

/// What to start.
#[derive(Clone, Debug)]
pub struct Spec {
    /// How messages call it.
    pub name: String,
    /// The program's path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its environment: only these, PATH, HOME, TMPDIR, LANG and RUST_BACKTRACE, so that a developer's own settings change nothing.
    pub env: Vec<(String, String)>,
    /// Where it runs.
    pub dir: PathBuf,
    /// Another user to run as; only root can ask for it.
    pub user: Option<String>,
}

impl Spec {
    /// A program with arguments, running in `dir`, with no environment of its own, as the present user.
    pub fn new<A: Into<OsString>>(name: &str, program: &Path, dir: &Path, args: impl IntoIterator<Item = A>) -> Spec {
        Spec {
            name: name.to_owned(),
            program: program.to_owned(),
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            dir: dir.to_owned(),
            user: None,
        }
    }

    /// The command, wrapped so that the kernel kills the child when this process dies, however it dies.
    pub fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(user) = &self.user {
            command.args(["--reuid", user, "--regid", user, "--init-groups"]);
        }
        command.arg("--").arg(&self.program).args(&self.args);
        command.env_clear();
        for name in ["PATH", "HOME", "TMPDIR", "LANG", "RUST_BACKTRACE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        command.current_dir(&self.dir).stdin(Stdio::null());
        command
    }
}

/// A running child process in a process group of its own; killed on drop with its group.
#[derive(Debug)]
pub struct Process {
    spec: Mutex<Spec>,
    log: PathBuf,
    child: Mutex<Child>,
}

impl Process {
    /// As whom it runs, where that is another user.
    pub fn user(&self) -> Option<String> {
        self.spec.lock().unwrap().user.clone()
    }

    /// Starts it; what it prints goes to `<name>.log` in its directory.
    pub fn spawn(spec: Spec) -> Process {
        let log = spec.dir.join(format!("{}.log", spec.name));
        let child = Mutex::new(start(&spec, &log));
        Process { spec: Mutex::new(spec), log, child }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.child().try_wait().unwrap().is_none()
    }

    /// SIGKILL to the whole group; returns when the process is gone.
    pub fn kill9(&self) {
        let mut child = self.child();
        if child.try_wait().unwrap().is_none() {
            let _ = kill_process_group(pid_of(&child), Signal::KILL);
            let _ = child.kill();
        }
        let _ = child.wait();
    }

    /// SIGTERM to the process.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGSTOP: it sleeps until [`cont`](Process::cont).
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn cont(&self) {
        self.signal(Signal::CONT);
    }

    /// Any signal to the process; nothing if it has ended.
    pub fn signal(&self, signal: Signal) {
        let mut child = self.child();
        if child.try_wait().unwrap().is_none() {
            kill_process(pid_of(&child), signal).unwrap();
        }
    }

    /// Waits for its end. Panics with the log's tail past `limit`.
    pub async fn wait_exit(&self, limit: Duration) -> ExitStatus {
        let what = format!("{} to end", self.name());
        wait::until_or(&what, limit, || self.log_tail(), async || self.child().try_wait().unwrap()).await
    }

    /// Kills it if it still runs, and starts it again; the log goes on.
    pub fn restart(&self) {
        self.kill9();
        let spec = self.spec.lock().unwrap().clone();
        *self.child() = start(&spec, &self.log);
    }

    /// Changes what the next [`restart`](Process::restart) starts.
    pub fn change(&self, change: impl FnOnce(&mut Spec)) {
        change(&mut self.spec.lock().unwrap());
    }

    /// Everything it printed, over all its lives.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of its log, under the log's path: for messages.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n");
        format!("--- {} ({}) ends with:\n{tail}\n---", self.log.display(), self.name())
    }

    fn name(&self) -> String {
        self.spec.lock().unwrap().name.clone()
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// The file that a shell would start for this name.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn start(spec: &Spec, log: &Path) -> Child {
    let file = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    let mut command = spec.command();
    command.stdout(file.try_clone().unwrap()).stderr(file).process_group(0);
    spawn_on_lasting_thread(command).unwrap_or_else(|e| {
        panic!("cannot start {} ({}): {e}; is util-linux' setpriv installed?", spec.name, spec.program.display())
    })
}

// PR_SET_PDEATHSIG fires when the *thread* that started the child ends, and each test has a thread of its own:
// so one thread that never ends starts all children.
fn spawn_on_lasting_thread(command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static ORDERS: OnceLock<Sender<Order>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, taken) = channel::<Order>();
        std::thread::Builder::new()
            .name("rig-spawner".into())
            .spawn(move || {
                for (mut command, answer) in taken {
                    let _ = answer.send(command.spawn());
                }
            })
            .unwrap();
        orders
    });
    let (answer, child) = channel();
    orders.send((command, answer)).unwrap();
    child.recv().unwrap()
}
