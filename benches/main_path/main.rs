//! `make bench`: events per second and latency of the main path, next to a relay that does nothing, in one run.
//!
//! Two ways in and out: a stand-in sidecar in this process, and real daprd with real Redis. On each the relay and the worker
//! take turns, so that what the machine does meanwhile hits both; the ratio is what can be compared between machines.

// A benchmark may panic, and its table goes to stdout.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]
#![allow(missing_docs)]

mod direct;
mod figures;
mod orders;
mod purge;
mod relay;
mod replay;
mod sidecars;

use std::path::PathBuf;
use std::sync::LazyLock;

use figures::{Figures, table};
use orders::Reservations;
use rig::worker::WorkerSpec;

/// The worker as it is shipped.
const WORKER: &str = env!("CARGO_BIN_EXE_order-worker");

/// The worker of another commit, which takes its turns beside this one's (`make bench-compare`).
fn base() -> Option<&'static str> {
    static BASE: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("BASE_WORKER").ok());
    BASE.as_deref()
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Turns of relay and worker; the table shows the median turn.
    rounds: usize,
    /// Events a turn at full speed against the stand-in; through daprd a quarter of it.
    events: usize,
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match args.next().as_deref() {
        Some("relay") => runtime.block_on(relay::serve(number(args.next()), number(args.next()))),
        None => runtime.block_on(bench(Size { rounds: from_env("ROUNDS", 3), events: from_env("EVENTS", 20_000) })),
        Some("purge") => println!("{}", runtime.block_on(purge::bench(from_env("ROUNDS", 3)))),
        Some("replay") => println!("{}", runtime.block_on(replay::bench())),
        Some(other) => panic!("unknown argument `{other}`; sizes are set by ROUNDS and EVENTS"),
    }
}

/// A row of the table: which worker, and whether each event asks for a call of the warehouse.
struct Row {
    name: &'static str,
    worker: &'static str,
    reservations: Reservations,
}

fn rows() -> Vec<Row> {
    let row = |name, worker, reservations| Row { name, worker, reservations };
    let mut rows = vec![
        row("order-worker", WORKER, Reservations::None),
        row("order-worker, a warehouse call each", WORKER, Reservations::One),
    ];
    if let Some(base) = base() {
        rows.push(row("base", base, Reservations::None));
        rows.push(row("base, a warehouse call each", base, Reservations::One));
    }
    rows
}

async fn bench(size: Size) {
    let rows = rows();
    let names = || ["no-op relay"].into_iter().chain(rows.iter().map(|row| row.name));
    let figures = || names().map(Figures::new).collect::<Vec<_>>();
    let (mut stand_in, mut daprd) = (figures(), figures());
    for round in 1..=size.rounds {
        eprintln!("round {round} of {}: stand-in sidecar", size.rounds);
        stand_in[0].add(direct::relay(size.events).await);
        for (row, figures) in rows.iter().zip(&mut stand_in[1..]) {
            figures.add(direct::worker(row.worker, size.events, row.reservations).await);
        }
        eprintln!("round {round} of {}: real daprd", size.rounds);
        daprd[0].add(sidecars::relay(size.events / 4).await);
        for (row, figures) in rows.iter().zip(&mut daprd[1..]) {
            figures.add(sidecars::worker(row.worker, size.events / 4, row.reservations).await);
        }
    }
    println!("{}", table(&[("stand-in sidecar", &stand_in), ("real daprd", &daprd)]));
}

/// The worker with the settings (`ORDER_…`) of this program's environment, to try them out.
fn with_settings(worker: &WorkerSpec) -> WorkerSpec {
    let settings = std::env::vars().filter(|(name, _)| name.starts_with("ORDER_"));
    settings.fold(worker.clone(), |worker, (name, value)| worker.env(&name, value))
}

/// This program, which is also the relay.
fn this_program() -> PathBuf {
    std::env::current_exe().unwrap()
}

fn number(argument: Option<String>) -> u16 {
    argument.and_then(|text| text.parse().ok()).expect("a port")
}

fn from_env(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}
