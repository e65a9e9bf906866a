//! Shared tables that exist already are adopted: verified, never altered.

use sqlx::PgConnection;

use super::migrate::MigrateError;
use crate::orders::Status;

/// Columns, each with the types that Postgres may give it.
type Columns = &'static [(&'static str, &'static [&'static str])];

/// The contract by table.
const CONTRACT: &[(&str, Columns)] = &[
    (
        "orders",
        &[
            ("id", TEXT),
            ("order_number", TEXT),
            ("user_id", TEXT),
            ("status", TEXT),
            ("payment_method", TEXT),
            ("delivered", &["boolean"]),
            ("currency", TEXT),
            ("total_amount", &["numeric"]),
            ("created_at", TIME),
            ("updated_at", TIME),
        ],
    ),
    (
        "order_items",
        &[
            ("id", &["bigint"]),
            ("order_id", TEXT),
            ("sku", TEXT),
            ("quantity", &["integer"]),
            ("reservation_id", TEXT),
            ("reserved_at", TIME),
            ("reservation_status", TEXT),
        ],
    ),
    (
        "order_status_history",
        &[
            ("id", &["bigint"]),
            ("order_id", TEXT),
            ("old_status", TEXT),
            ("new_status", TEXT),
            ("reason", TEXT),
            ("notes", TEXT),
            ("created_at", TIME),
        ],
    ),
    ("sessions", &[("id", TEXT), ("user_id", TEXT), ("updated_at", TIME)]),
    ("carts", &[("id", TEXT), ("user_id", TEXT), ("checked_out", &["boolean"]), ("updated_at", TIME)]),
    ("cart_items", &[("cart_id", TEXT), ("sku", TEXT), ("quantity", &["integer"])]),
];
const TEXT: &[&str] = &["text", "character varying"];
const TIME: &[&str] = &["timestamp with time zone"];

/// Compares what exists with the contract. Returns a note for each table that is adopted.
///
/// # Errors
///
/// [`MigrateError::Contract`] with every difference.
pub(super) async fn verify(connection: &mut PgConnection) -> Result<Vec<String>, MigrateError> {
    let existing: Vec<(String, String, String)> = sqlx::query_as(
        "select table_name::text, column_name::text, data_type::text from information_schema.columns where table_schema = 'public'",
    )
    .fetch_all(connection)
    .await?;
    let mut wrong = Vec::new();
    let mut notes = Vec::new();
    for (table, columns) in CONTRACT {
        let present: Vec<_> = existing.iter().filter(|(name, ..)| name == table).collect();
        if present.is_empty() {
            continue;
        }
        notes.push(format!("public.{table} exists: adopted as it is"));
        for (column, types) in *columns {
            match present.iter().find(|(_, name, _)| name == column) {
                None => wrong.push(format!("public.{table} has no column {column} ({})", types[0])),
                Some((.., kind)) if !types.contains(&kind.as_str()) => {
                    wrong.push(format!("public.{table}.{column} is {kind}, {} is expected", types.join(" or ")));
                }
                Some(_) => {}
            }
        }
    }
    if wrong.is_empty() { Ok(notes) } else { Err(MigrateError::Contract(wrong)) }
}

/// Statuses of adopted orders that the machine does not know: payments for them are rejected, so they are said at once.
///
/// # Errors
///
/// When the database does not answer.
pub(super) async fn unknown_statuses(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let known: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
    let found: Vec<(String, i64)> = sqlx::query_as(
        "select status, count(*) from public.orders where not status = any($1) group by status order by status",
    )
    .bind(known)
    .fetch_all(connection)
    .await?;
    Ok(found
        .into_iter()
        .map(|(status, orders)| {
            format!("{orders} orders have the unknown status `{status}`: payments for them are rejected")
        })
        .collect())
}
