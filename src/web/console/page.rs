//! A page as data: tables, pictures and forms. Every page is one, so that all look and work alike.

use askama::Template;

use super::guard::Visitor;
use crate::web::listing::{self, Cell, Listing, Reader, encoded};

/// A button that changes something.
#[derive(Clone, Debug)]
pub struct Action {
    /// Its words.
    pub label: &'static str,
    /// The address that it sends to.
    pub path: &'static str,
    /// The fields that it sends along.
    pub fields: Vec<(&'static str, String)>,
    /// Whether a reason is asked for.
    pub reason: bool,
    /// Further fields, which may be left empty.
    pub asks: &'static [&'static str],
}

impl Action {
    /// A button that asks for a reason, and sends `name` with `value`.
    pub fn new(label: &'static str, path: &'static str, name: &'static str, value: impl ToString) -> Self {
        Self { label, path, fields: vec![(name, value.to_string())], reason: true, asks: &[] }
    }

    /// Sends this field too.
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.fields.push((name, value.to_string()));
        self
    }
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
    /// The names of the columns.
    pub head: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Row>,
    /// The words that stand there when there are no rows.
    pub none: &'static str,
    /// A picture over time, and the value at its upper edge.
    pub picture: Option<(Vec<Line>, i64)>,
    /// A link to further rows, and its words.
    pub more: Option<(String, &'static str)>,
    /// Buttons below the table, for operators.
    pub actions: Vec<Action>,
}

impl Section {
    /// A list of records.
    pub fn list<R: Listing>(title: impl Into<String>, records: &[R]) -> Self {
        Self::with_buttons(title, records, |_| Vec::new())
    }

    /// A list of records, each with its buttons.
    pub fn with_buttons<R: Listing>(
        title: impl Into<String>,
        records: &[R],
        buttons: impl Fn(&R) -> Vec<Action>,
    ) -> Self {
        let row = |record| Row { cells: listing::cells(record, Reader::Browser), actions: buttons(record) };
        let rows = records.iter().map(row).collect();
        Self { title: title.into(), head: listing::head::<R>(Reader::Browser), rows, ..Self::default() }
    }

    /// The fields of one thing.
    pub fn fields<const N: usize>(title: String, fields: [(&str, Cell); N]) -> Self {
        let rows = fields.map(|(name, cell)| vec![Cell::text(name), cell].into()).into();
        Self { title, head: vec!["field", "value"], rows, ..Self::default() }
    }
}

/// The sections of a page, without its frame.
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
    /// Its text.
    pub value: String,
}

/// The form above a list, as it was sent.
#[derive(Clone, Debug, Default)]
pub struct Filter(Vec<Field>);

impl Filter {
    /// A form with these fields.
    pub fn new<const N: usize>(fields: [(&'static str, &String); N]) -> Self {
        Self(fields.map(|(name, value)| Field { name, value: value.clone() }).into())
    }

    fn filled(&self) -> impl Iterator<Item = &Field> {
        self.0.iter().filter(|field| !field.value.is_empty())
    }

    /// Whether every field is empty.
    pub fn is_empty(&self) -> bool {
        self.filled().next().is_none()
    }

    /// Every field with its text.
    pub fn values(self) -> Vec<(&'static str, String)> {
        self.0.into_iter().map(|field| (field.name, field.value)).collect()
    }

    /// The address of the filtered list.
    pub fn path(&self, page: &str) -> String {
        let query: Vec<String> =
            self.filled().map(|field| format!("{}={}", field.name, encoded(&field.value))).collect();
        format!("{page}?{}", query.join("&"))
    }

    /// The same filter in flags of the command line.
    pub fn flags(&self) -> String {
        self.filled().map(|field| format!(" --{} '{}'", field.name, field.value)).collect()
    }
}

/// The pages of the navigation.
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

/// The full page. A live one asks for its sections every two seconds at `live`.
pub fn full_page(
    visitor: &Visitor,
    title: &str,
    live: Option<&str>,
    filter: &Filter,
    sections: &[Section],
) -> Result<String, askama::Error> {
    let sections = fragment(visitor, sections)?;
    let (user, role) = visitor.name_and_role();
    let (logged_in, csrf) = (visitor.logged_in(), visitor.csrf());
    let (path, live) = (live.unwrap_or_default(), live.is_some());
    Page { title, path, live, filter: &filter.0, user: &user, role: &role, logged_in, csrf, sections, nav: NAV }
        .render()
}
