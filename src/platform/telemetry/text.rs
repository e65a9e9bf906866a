//! Fields of a text log line: `Processing payment confirmed: payment_id=p1, order_id=o1`.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Writes the message, a colon, then the fields with commas between them, always on one line.
///
/// A value is quoted only where it could be mistaken for more than one value; control characters
/// are escaped, so that no event from outside can forge a line or colour a terminal.
pub(super) struct TextFields;

impl<'writer> FormatFields<'writer> for TextFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut line = Line::default();
        fields.record(&mut line);
        match (line.message.is_empty(), line.fields.is_empty()) {
            (false, false) => write!(writer, "{}: {}", line.message, line.fields),
            _ => write!(writer, "{}{}", line.message, line.fields),
        }
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn put(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            escape(&mut self.message, value);
            return;
        }
        if !self.fields.is_empty() {
            self.fields.push_str(", ");
        }
        self.fields.push_str(field.name());
        self.fields.push('=');
        let bare = !value.is_empty()
            && !value.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '=' | ','));
        if bare {
            self.fields.push_str(value);
        } else {
            self.fields.push('"');
            escape(&mut self.fields, &value.replace('\\', "\\\\").replace('"', "\\\""));
            self.fields.push('"');
        }
    }
}

fn escape(to: &mut String, text: &str) {
    for c in text.chars() {
        // U+2028 and U+2029 end a line for some readers without being control characters.
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            to.extend(c.escape_default());
        } else {
            to.push(c);
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a String fails only when the value's own Debug does.
        if write!(text, "{value:?}").is_err() {
            text.push_str("(unprintable)");
        }
        self.put(field, &text);
    }
}
