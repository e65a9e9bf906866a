//! What goes to stdout: the only place that writes there.

use std::io::{self, ErrorKind, StdoutLock, Write};

use chrono::{DateTime, Utc};
use comfy_table::{Cell, Table, presets};
use serde::Serialize;
use serde_json::Value;

use super::exit::{Exit, Stop};

/// Writes to stdout. A reader that went away (`| head`) is no error: there is no more to do.
pub(super) fn write(write: impl FnOnce(&mut StdoutLock<'static>) -> io::Result<()>) -> Result<(), Stop> {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Stop::Shown),
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

/// Writes rows below a head in columns of plain text: no frame, no colour, one line a row.
pub(super) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Result<(), Stop> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head.map(str::to_uppercase));
    for row in rows {
        table.add_row(row.map(Cell::new));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.trim_fmt();
    write(|out| writeln!(out, "{text}"))
}

/// A moment, to the second.
pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// What there may be, or a dash.
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
