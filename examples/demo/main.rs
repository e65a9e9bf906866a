//! `make demo`: a plan of payments through real Dapr, Redis and Postgres, a worker that is killed while it works, and everybody's
//! books compared at the end. Exit code 0: conserved; 1: not, or something failed; 2: a setting is wrong; 130: interrupted.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "as in the rig: a panic with a clear message ends the demo, and main says where the logs are"
)]

mod keep;
mod report;
mod run;
mod scene;
mod screen;
mod settings;
mod walkthrough;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use futures::FutureExt;
use rig::plan::Plan;
use rig::run_dir;
use tokio::signal::unix::{SignalKind, signal};

use report::Report;
use scene::Scene;
use screen::{Screen, number};
use settings::Settings;

#[tokio::main]
async fn main() -> ExitCode {
    let screen = Screen::new();
    let settings = match Settings::from_environment() {
        Ok(settings) => settings,
        Err(wrong) => {
            screen.complain(&wrong);
            return ExitCode::from(2);
        }
    };
    fail_in_words(&screen);
    // Whatever is cut off here is dropped, and processes and data with it.
    let played = tokio::select! {
        played = AssertUnwindSafe(play(&settings, &screen)).catch_unwind() => played.ok(),
        () = interrupted() => {
            screen.complain("interrupted: everything is stopped and removed");
            return ExitCode::from(130);
        }
    };
    let conserved = played.as_ref().is_some_and(|(_, right)| *right);
    if let Some((scene, _)) = &played
        && settings.keep
    {
        keep::show(scene, &screen).await;
        interrupted().await;
    }
    if !conserved {
        run_dir::keep();
    }
    drop(played);
    if conserved { ExitCode::SUCCESS } else { logs(&screen) }
}

/// The whole demo, and whether all of it is as it has to be; panics when something takes too long or does not start.
async fn play(settings: &Settings, screen: &Screen) -> (Scene, bool) {
    let plan = Plan::new("order", settings.orders, settings.seed);
    let scene = Scene::start(&plan, screen).await;
    screen.say(format!(
        "publishing {} messages about their payments in {} waves (SEED={}): shuffled, repeated, some of them nonsense",
        number(plan.messages.len()),
        settings.kills + 1,
        settings.seed
    ));
    let kills = run::run(&scene, &plan, settings.kills, screen).await;
    let report = Report::of(&scene, &plan, kills).await;
    screen.line("");
    screen.line(report.table());
    screen.line("");
    screen.line(report.verdict(screen.elapsed()));
    screen.line("");
    let (seen, right) = walkthrough::play(&scene, screen).await;
    screen.line("");
    screen.line(seen);
    screen.line("");
    screen.line(if right { "Every order came to its end, in order, once." } else { "NOT what it has to be." });
    (scene, right && report.conserved())
}

/// A failure is told by its message alone, and what it leaves behind is kept.
fn fail_in_words(screen: &Screen) {
    let screen = screen.clone();
    std::panic::set_hook(Box::new(move |panic| {
        run_dir::keep();
        screen.complain(panic.payload_as_str().unwrap_or("something failed"));
    }));
}

fn logs(screen: &Screen) -> ExitCode {
    screen.complain("the logs are in");
    for dir in run_dir::made() {
        screen.complain(&format!("  {}", dir.display()));
    }
    ExitCode::FAILURE
}

/// Ctrl-C, or a polite kill.
async fn interrupted() {
    let mut terminated = signal(SignalKind::terminate()).unwrap();
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt.unwrap(),
        _ = terminated.recv() => (),
    }
}
