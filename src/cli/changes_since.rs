//! Changes of orders since the rows about them were made.

use serde_json::{Value, json};

use super::exit::Stop;
use super::output;
use crate::operations::since::Since;

/// A heading for each row, and a line for each thing.
pub(super) fn show(since: &[Since]) -> Result<(), Stop> {
    for (n, one) in since.iter().enumerate() {
        if n == 0 || since[n - 1].id != one.id {
            output::line(&format!("about row {}:", one.id))?;
        }
        output::line(&format!("  {} {}", output::moment(one.at), one.line))?;
    }
    Ok(())
}

/// The same for programs: by row.
pub(super) fn by_row(ids: &[i64], since: &[Since]) -> Value {
    let of = |id: &i64| (id.to_string(), json!(since.iter().filter(|one| one.id == *id).collect::<Vec<_>>()));
    Value::Object(ids.iter().map(of).collect())
}
