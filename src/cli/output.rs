//! Results on stdout, as tables or JSON. Nothing else writes there.

use std::io::{self, ErrorKind, StdoutLock, Write};

use clap::{Args, ValueEnum};
use comfy_table::{Cell, Table, presets};
use serde::Serialize;
use serde_json::Value;

use super::exit::{Exit, Stop};
use crate::web::listing::{self, Listing, Reader};

pub(super) use crate::web::listing::moment;

/// The form of a result.
#[derive(Debug, Args)]
pub struct Output {
    /// For eyes or for programs
    #[arg(id = "output", short = 'o', long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: Format,
}

/// The forms of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For eyes
    #[default]
    Table,
    /// For programs
    Json,
}

/// A list, and its form.
#[derive(Debug, Args)]
pub struct Rows {
    /// The most rows shown: 1 to 10000
    #[arg(long, value_name = "ROWS", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,

    /// The form of the list.
    #[command(flatten)]
    pub output: Output,
}

/// A list of runs, and its form.
#[derive(Debug, Args)]
pub struct Runs {
    /// The most runs shown: 1 to 10000
    #[arg(long, value_name = "RUNS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,

    /// The form of the list.
    #[command(flatten)]
    pub output: Output,
}

/// Writes to stdout. A reader that went away (`| head`) is no error: there is no more to do.
pub(super) fn write(write: impl FnOnce(&mut StdoutLock<'static>) -> io::Result<()>) -> Result<(), Stop> {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Stop::Quiet),
        Err(error) => Err(Stop::failed(Exit::Failed, format!("cannot write: {error}"), "")),
        Ok(()) => Ok(()),
    }
}

/// A line on stderr, for people.
pub(super) fn note(line: &str) {
    // Nobody is told when nobody can be.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes `value` as JSON, indented.
pub(super) fn json(value: &impl Serialize) -> Result<(), Stop> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Stop::failed(Exit::Failed, format!("cannot write JSON: {error}"), ""))?;
    write(|out| writeln!(out, "{text}"))
}

/// Writes records in the form that was asked for.
pub(super) fn list<R: Listing + Serialize>(output: &Output, records: &[R]) -> Result<(), Stop> {
    match output.format {
        Format::Json => json(&records),
        Format::Table => rows(records),
    }
}

/// Writes records as a table.
pub(super) fn rows<R: Listing>(records: &[R]) -> Result<(), Stop> {
    let cells = |record| listing::cells(record, Reader::Terminal).into_iter().map(listing::Cell::plain).collect();
    draw(listing::head::<R>(Reader::Terminal), records.iter().map(cells))
}

/// Writes objects: as JSON, or each as a table of its fields.
pub(super) fn objects(output: &Output, objects: &[Value]) -> Result<(), Stop> {
    match output.format {
        Format::Json => json(&objects),
        Format::Table => fields(objects),
    }
}

/// Writes rows below a head.
pub(super) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Result<(), Stop> {
    draw(head.to_vec(), rows.into_iter().map(Vec::from))
}

/// Columns of plain text: no frame, no colour, one line a row.
fn draw(head: Vec<&str>, rows: impl Iterator<Item = Vec<String>>) -> Result<(), Stop> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head.into_iter().map(str::to_uppercase));
    for row in rows {
        table.add_row(row.into_iter().map(Cell::new));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.trim_fmt();
    write(|out| writeln!(out, "{text}"))
}

/// A value, or a dash where there is none.
pub(super) fn dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Objects as lines of `key  value`, with an empty line between two of them.
pub(super) fn fields(objects: &[Value]) -> Result<(), Stop> {
    for (n, object) in objects.iter().enumerate() {
        if n > 0 {
            blank()?;
        }
        let fields = object.as_object().into_iter().flatten();
        table(
            ["key", "value"],
            fields.map(|(key, value)| {
                let value = match value {
                    Value::Null => "-".to_owned(),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                [key.clone(), value]
            }),
        )?;
    }
    Ok(())
}

/// One line.
pub(super) fn line(text: &str) -> Result<(), Stop> {
    write(|out| writeln!(out, "{text}"))
}

/// An empty line.
pub(super) fn blank() -> Result<(), Stop> {
    line("")
}
