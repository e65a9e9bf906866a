//! A page as data: tables, pictures and forms. Every page is one, so that all look and work alike.

use askama::Template;
use chrono::{DateTime, Utc};

use super::guard::Visitor;

/// A cell of a table.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Words.
    Text(String),
    /// Words that lead somewhere.
    Link {
        /// Where.
        href: String,
        /// The words.
        text: String,
    },
    /// A moment, shown in UTC and, by a script, in local time.
    Time(DateTime<Utc>),
    /// A state: shown as a badge.
    State(String),
    /// Lines of a diff.
    Lines(Vec<String>),
    /// Nothing.
    Empty,
}

impl Cell {
    /// Words, or nothing.
    pub fn text(text: impl ToString) -> Self {
        Self::Text(text.to_string())
    }

    /// What there may be.
    pub fn maybe(text: Option<impl ToString>) -> Self {
        text.map_or(Self::Empty, Self::text)
    }

    /// A moment that there may be.
    pub fn when(at: Option<DateTime<Utc>>) -> Self {
        at.map_or(Self::Empty, Self::Time)
    }

    /// Words that lead to a page.
    pub fn link(href: impl Into<String>, text: impl ToString) -> Self {
        Self::Link { href: href.into(), text: text.to_string() }
    }

    /// An order, whose story it leads to.
    pub fn order(id: Option<String>) -> Self {
        id.map_or(Self::Empty, |id| Self::link(format!("/order?id={}", encoded(&id)), id))
    }

    fn at(moment: &DateTime<Utc>) -> String {
        moment.format("%Y-%m-%d %H:%M:%SZ").to_string()
    }

    fn machine(moment: &DateTime<Utc>) -> String {
        moment.to_rfc3339()
    }
}

/// Makes a part of an address of any text.
pub fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A button that changes something, with what it sends.
#[derive(Clone, Debug)]
pub struct Action {
    /// What is on it.
    pub label: &'static str,
    /// Where it goes.
    pub path: String,
    /// What it sends along.
    pub fields: Vec<(&'static str, String)>,
    /// Whether a reason is asked for.
    pub reason: bool,
    /// What else may be said.
    pub asks: &'static [&'static str],
}

/// A row.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Its cells.
    pub cells: Vec<Cell>,
    /// Its buttons, for operators.
    pub actions: Vec<Action>,
}

impl From<Vec<Cell>> for Row {
    fn from(cells: Vec<Cell>) -> Self {
        Self { cells, actions: Vec::new() }
    }
}

/// A line of a picture: its name, and its points in the picture's coordinates.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name, also its class.
    pub name: &'static str,
    /// As SVG's polyline takes them.
    pub points: String,
}

/// A part of a page.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// Its title.
    pub title: String,
    /// The same thing's command line.
    pub command: String,
    /// What the columns are.
    pub head: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Row>,
    /// What is said when there are none.
    pub none: &'static str,
    /// A picture over time, and the value at its upper edge.
    pub picture: Option<(Vec<Line>, i64)>,
    /// Where the rows go on, and the words that lead there.
    pub more: Option<(String, &'static str)>,
    /// Buttons below the table, for operators.
    pub actions: Vec<Action>,
}

/// What a page shows of itself; the rest is in the frame.
#[derive(Template)]
#[template(path = "sections.html")]
struct Sections<'a> {
    sections: &'a [Section],
    operator: bool,
    csrf: &'a str,
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    title: &'a str,
    path: &'a str,
    live: bool,
    filter: &'a [Field],
    user: &'a str,
    role: &'a str,
    logged_in: bool,
    csrf: &'a str,
    sections: String,
    nav: &'static [(&'static str, &'static str)],
}

/// A field of the form above a list.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What is in it.
    pub value: String,
}

/// The pages that lists can be found on.
pub const NAV: &[(&str, &str)] = &[
    ("/", "Overview"),
    ("/inbox", "Inbox"),
    ("/outbox", "Outbox"),
    ("/dead", "Dead"),
    ("/waiting", "Waiting"),
    ("/incidents", "Incidents"),
    ("/cron", "Jobs"),
    ("/replays", "Replays"),
    ("/audit", "Audit log"),
];

/// The sections alone: what a live page asks for again and again.
pub fn fragment(visitor: &Visitor, sections: &[Section]) -> Result<String, askama::Error> {
    Sections { sections, operator: visitor.is_operator(), csrf: visitor.csrf() }.render()
}

/// The whole page. A live one asks for its sections every two seconds at `path`.
pub fn whole(
    visitor: &Visitor,
    title: &str,
    path: &str,
    live: bool,
    filter: &[Field],
    sections: &[Section],
) -> Result<String, askama::Error> {
    let sections = fragment(visitor, sections)?;
    let (user, role) = visitor.shown();
    let (logged_in, csrf) = (visitor.logged_in(), visitor.csrf());
    Page { title, path, live, filter, user: &user, role: &role, logged_in, csrf, sections, nav: NAV }.render()
}
