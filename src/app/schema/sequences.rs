//! Sequences that a logical restore has left behind the rows that use them.

use sqlx::{AssertSqlSafe, PgConnection};

/// A sequence whose next number is there already.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Behind {
    /// Its name, with its schema.
    pub sequence: String,
    /// The last number that it gave.
    pub last: i64,
    /// The highest number that is there.
    pub needed: i64,
}

/// The sequences that the worker uses and that stand behind.
pub async fn behind(connection: &mut PgConnection) -> Result<Vec<Behind>, sqlx::Error> {
    sqlx::query_as("select sequence, last, needed from order_worker.sequences_behind()").fetch_all(connection).await
}

/// Sets the worker's own sequences behind what is there; those of the shared tables are their owner's, and are named. Returns what there is
/// to know.
pub(super) async fn catch_up(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let mut notes = Vec::new();
    for Behind { sequence, last, needed } in behind(connection).await? {
        if sequence.starts_with("order_worker.") {
            let set = format!("select setval('{sequence}', {needed})");
            sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut *connection).await?;
            notes
                .push(format!("the sequence {sequence} stood at {last}, behind {needed}, as a restore leaves it: set"));
        } else {
            notes.push(format!(
                "the sequence {sequence} stands at {last}, behind {needed}: rows cannot be added; its owner: select setval('{sequence}', {needed})"
            ));
        }
    }
    Ok(notes)
}
