//! What the demo prints: lines with the time since its start, and a bar below them where somebody watches. Where nobody does
//! (a file, a pipe) the bar becomes a line now and then.

use std::cell::RefCell;
use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// How often a line says how far it is, where there is no bar.
const TELL: Duration = Duration::from_secs(3);

/// The screen. Clones share it.
#[derive(Clone, Debug)]
pub struct Screen {
    start: Instant,
    bars: MultiProgress,
    watched: bool,
}

impl Screen {
    /// Bars are drawn only when both stdout and stderr are terminals.
    pub fn new() -> Screen {
        let watched = stdout().is_terminal() && stderr().is_terminal();
        let target = if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Screen { start: Instant::now(), bars: MultiProgress::with_draw_target(target), watched }
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// A line about something that happened.
    pub fn say(&self, what: impl Display) {
        self.line(format!("{:6.1} s  {what}", self.elapsed().as_secs_f64()));
    }

    /// Text as it is. A reader that went away is not the demo's concern.
    pub fn line(&self, text: impl Display) {
        self.bars.suspend(|| {
            let _ = writeln!(stdout(), "{text}");
        });
    }

    /// What went wrong.
    pub fn complain(&self, what: &str) {
        self.bars.suspend(|| {
            let _ = writeln!(stderr(), "demo: {what}");
        });
    }

    /// A bar up to `total`.
    pub fn bar(&self, total: usize) -> Progress<'_> {
        self.progress(ProgressBar::new(total as u64), "          {bar:40} {msg}")
    }

    /// A spinner, for what has no known end.
    pub fn spinner(&self) -> Progress<'_> {
        self.progress(ProgressBar::new_spinner(), "        {spinner} {msg}")
    }

    fn progress(&self, bar: ProgressBar, style: &str) -> Progress<'_> {
        let bar = self.bars.add(bar.with_style(ProgressStyle::with_template(style).unwrap()));
        let bar = bar.with_finish(ProgressFinish::AndClear);
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress { screen: self, bar, told: RefCell::new((Instant::now(), String::new())) }
    }
}

/// A bar or spinner, or the lines in its place; gone when dropped.
#[derive(Debug)]
pub struct Progress<'a> {
    screen: &'a Screen,
    bar: ProgressBar,
    /// When a line was last printed, and which.
    told: RefCell<(Instant, String)>,
}

impl Progress<'_> {
    /// How far it is, and the same in words.
    pub fn tell(&self, done: usize, words: impl FnOnce() -> String) {
        if self.screen.watched {
            self.bar.set_position(done as u64);
            self.bar.set_message(words());
            return;
        }
        let (at, last) = &mut *self.told.borrow_mut();
        if at.elapsed() < TELL {
            return;
        }
        *at = Instant::now();
        let words = words();
        if words != *last {
            self.screen.say(&words);
            *last = words;
        }
    }
}

/// `1234567` as `1,234,567`.
pub fn number(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}
