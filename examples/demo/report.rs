//! The sums of everybody's books, what they have to equal, and the verdict.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, presets};
use rig::books::{Books, Seen};
use rig::plan::Plan;
use rig::subscriber::STATUS_CHANGED;

use crate::scene::Scene;
use crate::screen::number;

/// How many violations are shown.
const SHOWN: usize = 20;

/// One line of the table.
#[derive(Debug)]
struct Row {
    what: &'static str,
    sum: usize,
    book: &'static str,
    must: String,
    holds: bool,
}

impl Row {
    fn wrong(&self) -> String {
        format!("{} is {} and has to be {}", self.what, number(self.sum), self.must.trim_start_matches("= "))
    }
}

/// The comparison.
#[derive(Debug)]
pub struct Report {
    rows: Vec<Row>,
    violations: Vec<String>,
    verdict: String,
}

impl Report {
    /// Compares the books.
    pub async fn of(scene: &Scene, plan: &Plan, kills: usize) -> Report {
        let received: Vec<Seen> = scene.stack.subscriber.received().iter().map(Seen::from).collect();
        let stream: Vec<Seen> = scene.stack.redis.stream(STATUS_CHANGED).await.iter().map(Seen::from).collect();
        let calls = scene.stack.warehouse.calls();
        let books = Books::compare_with_stream(plan, &scene.pool, &received, &stream, &calls).await;
        let rows = rows(&books, plan);
        let verdict = format!(
            "{} messages, {kills} {}: {} changes made once, announced under one id, received. Nothing lost, nothing doubled",
            number(books.sums.published),
            if kills == 1 { "kill" } else { "kills" },
            number(books.sums.changes)
        );
        let mut violations = books.violations;
        violations.extend(rows.iter().filter(|row| !row.holds).map(Row::wrong));
        Report { rows, violations, verdict }
    }

    /// Whether every sum is what it has to be.
    pub fn conserved(&self) -> bool {
        self.violations.is_empty()
    }

    /// The sums.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["", "", "by the book of", "has to be", ""]);
        for row in &self.rows {
            let sum = Cell::new(number(row.sum)).set_alignment(CellAlignment::Right);
            let holds = if row.holds { "ok" } else { "NO" };
            table.add_row([Cell::new(row.what), sum, Cell::new(row.book), Cell::new(&row.must), Cell::new(holds)]);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.trim_fmt()
    }

    /// The last line, or the violations.
    pub fn verdict(&self, took: Duration) -> String {
        if self.conserved() {
            return format!("Conserved: {}. {:.0} s.", self.verdict, took.as_secs_f64());
        }
        let shown: Vec<String> = self.violations.iter().take(SHOWN).map(|violation| format!("- {violation}")).collect();
        format!("NOT conserved, {} violations:\n{}", number(self.violations.len()), shown.join("\n"))
    }
}

fn rows(books: &Books, plan: &Plan) -> Vec<Row> {
    let sums = &books.sums;
    let ids = plan.ids().len();
    let repeated_ids = sums.published - ids;
    let again = sums.duplicates.saturating_sub(repeated_ids);
    let row = |what, sum, book, must: String, holds| Row { what, sum, book, must, holds };
    let equal = |what, sum, book, name: &str, other: usize| {
        row(what, sum, book, format!("= {} {name}", number(other)).trim_end().to_owned(), sum == other)
    };
    let settled = sums.applied + sums.superseded + sums.rejected + sums.dead;
    let sent = sums.confirmed + sums.released;
    vec![
        row(
            "published",
            sums.published,
            "publisher",
            format!("= {} accepted + {} repeated ids", number(sums.accepted), number(repeated_ids)),
            sums.published == sums.accepted + repeated_ids,
        ),
        row(
            "accepted",
            sums.accepted,
            "inbox",
            "= applied + superseded + rejected + dead".to_owned(),
            sums.accepted == settled,
        ),
        row(
            "duplicates",
            sums.duplicates,
            "inbox",
            format!("= {} repeated ids + {} delivered again", number(repeated_ids), number(again)),
            sums.duplicates >= repeated_ids,
        ),
        equal("applied", sums.applied, "inbox", "changes in the orders' histories", sums.changes),
        row("superseded", sums.superseded, "inbox", "any: asked for what had happened already".to_owned(), true),
        row("rejected", sums.rejected, "inbox", "any: asked for what cannot be".to_owned(), true),
        equal("dead", sums.dead, "inbox", "published as nonsense", plan.malformed.len()),
        equal("announced", sums.announced, "outbox", "applied", sums.applied),
        equal("received", sums.received, "subscriber", "announced", sums.announced),
        row("repeated", sums.repeated, "subscriber", "any: under an id that it had already".to_owned(), true),
        equal("in order", sums.in_order, "Redis stream", "announced", sums.announced),
        equal("lost", sums.lost, "subscriber", "", 0),
        equal("doubled", sums.doubled, "subscriber", "", 0),
        row(
            "confirmed",
            sums.confirmed,
            "warehouse",
            format!("confirmed + released = {} calls written", number(sums.calls)),
            sent == sums.calls,
        ),
        row("released", sums.released, "warehouse", String::new(), sent == sums.calls),
    ]
}
