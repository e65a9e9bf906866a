//! What was measured, and its table.

use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;

/// One turn.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Events per second at full speed.
    pub rate: f64,
    /// The median time of an event, paced.
    pub p50: Duration,
    /// The time that one event in a hundred takes longer, paced.
    pub p99: Duration,
}

impl Turn {
    /// From the time of `events` at full speed, and the sorted times of paced ones.
    pub fn new(events: usize, took: Duration, paced: &[Duration]) -> Turn {
        let at = |percent: usize| paced[(paced.len() * percent / 100).min(paced.len() - 1)];
        Turn { rate: events as f64 / took.as_secs_f64(), p50: at(50), p99: at(99) }
    }
}

/// All turns of one thing.
#[derive(Clone, Debug)]
pub struct Figures {
    name: &'static str,
    turns: Vec<Turn>,
}

impl Figures {
    pub const fn new(name: &'static str) -> Figures {
        Figures { name, turns: Vec::new() }
    }

    pub fn add(&mut self, turn: Turn) {
        eprintln!("  {}: {:.0} events/s, p50 {:?}, p99 {:?}", self.name, turn.rate, turn.p50, turn.p99);
        self.turns.push(turn);
    }

    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The median p50 of the turns.
    pub fn p50(&self) -> Duration {
        self.median(|turn| turn.p50)
    }

    /// The median p99 of the turns.
    pub fn p99(&self) -> Duration {
        self.median(|turn| turn.p99)
    }

    /// The median of one figure over the turns.
    fn median<T: PartialOrd + Copy>(&self, figure: impl Fn(&Turn) -> T) -> T {
        let mut values: Vec<T> = self.turns.iter().map(figure).collect();
        values.sort_by(|a, b| a.partial_cmp(b).unwrap());
        values[values.len() / 2]
    }
}

/// A Markdown table; each way's ratio is to its first row.
pub fn table(ways: &[(&str, &[Figures])]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(["way", "", "events/s", "ratio", "p50 ms", "p99 ms"]);
    for (way, figures) in ways {
        let measure = figures[0].median(|turn| turn.rate);
        for figures in *figures {
            let rate = figures.median(|turn| turn.rate);
            table.add_row([
                (*way).to_owned(),
                figures.name.to_owned(),
                format!("{rate:.0}"),
                format!("{:.2}", rate / measure),
                milliseconds(figures.p50()),
                milliseconds(figures.p99()),
            ]);
        }
    }
    table
}

pub fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}
