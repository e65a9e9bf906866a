//! Records as tables: the columns of each are described once, for the command line and for the console.

mod records;

use chrono::{DateTime, Utc};

/// A record that lists show.
pub trait Listing: Sized + 'static {
    /// Its columns, from left to right.
    const COLUMNS: &'static [Column<Self>];
}

/// A column of records `R`.
#[derive(Debug)]
pub struct Column<R> {
    name: &'static str,
    reader: Option<Reader>,
    cell: fn(&R) -> Cell,
}

/// The two places where lists are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The command line.
    Terminal,
    /// The console.
    Browser,
}

/// A column that is the same in both places.
const fn both<R>(name: &'static str, cell: fn(&R) -> Cell) -> Column<R> {
    Column { name, reader: None, cell }
}

/// A column of the command line alone.
const fn terminal<R>(name: &'static str, cell: fn(&R) -> Cell) -> Column<R> {
    Column { name, reader: Some(Reader::Terminal), cell }
}

/// A column of the console alone.
const fn browser<R>(name: &'static str, cell: fn(&R) -> Cell) -> Column<R> {
    Column { name, reader: Some(Reader::Browser), cell }
}

fn columns<R: Listing>(reader: Reader) -> impl Iterator<Item = &'static Column<R>> {
    R::COLUMNS.iter().filter(move |column| column.reader.is_none_or(|only| only == reader))
}

/// The names of the columns.
pub fn head<R: Listing>(reader: Reader) -> Vec<&'static str> {
    columns::<R>(reader).map(|column| column.name).collect()
}

/// The cells of a record.
pub fn cells<R: Listing>(record: &R, reader: Reader) -> Vec<Cell> {
    columns(reader).map(|column| (column.cell)(record)).collect()
}

/// A cell of a table.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Words.
    Text(String),
    /// Words with a link.
    Link {
        /// The address.
        href: String,
        /// The words.
        text: String,
    },
    /// A moment: in UTC; a script of the console adds the local time.
    Time(DateTime<Utc>),
    /// A state: a badge in the console.
    State(String),
    /// Lines of a diff.
    Lines(Vec<String>),
    /// Nothing.
    Empty,
}

impl Cell {
    /// Words.
    pub fn text(text: impl ToString) -> Self {
        Self::Text(text.to_string())
    }

    /// Words, or nothing.
    pub fn maybe(text: Option<impl ToString>) -> Self {
        text.map_or(Self::Empty, Self::text)
    }

    /// A moment, or nothing.
    pub fn when(at: Option<DateTime<Utc>>) -> Self {
        at.map_or(Self::Empty, Self::Time)
    }

    /// A state.
    pub fn state(state: impl ToString) -> Self {
        Self::State(state.to_string())
    }

    /// Words with a link to a page of the console.
    pub fn link(href: impl Into<String>, text: impl ToString) -> Self {
        Self::Link { href: href.into(), text: text.to_string() }
    }

    /// An order, with a link to its story.
    pub fn order(id: Option<&str>) -> Self {
        id.map_or(Self::Empty, |id| Self::link(format!("/order?id={}", encoded(id)), id))
    }

    /// The cell as plain text, for the terminal.
    pub fn plain(self) -> String {
        match self {
            Self::Text(text) | Self::Link { text, .. } | Self::State(text) => text,
            Self::Time(at) => moment(at),
            Self::Lines(lines) => lines.join("\n"),
            Self::Empty => "-".to_owned(),
        }
    }
}

/// A moment, to the second.
pub fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Any text as a part of an address.
pub fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
