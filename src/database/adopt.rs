//! Shared tables that exist already are adopted: verified, never altered.

use sqlx::PgConnection;

use super::MigrateError;
use crate::orders::Status;

/// Columns, each with the types that Postgres may give it.
type Columns = &'static [(&'static str, &'static [&'static str])];

/// The tables of the contract.
pub const SHARED_TABLES: [&str; 6] =
    ["orders", "order_items", "order_status_history", "sessions", "carts", "cart_items"];

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

/// The one shared table that the worker adds rows to, and the columns that it gives a value.
const WRITTEN: (&str, &[&str]) =
    ("order_status_history", &["order_id", "old_status", "new_status", "reason", "notes", "created_at"]);

/// What jobs read the shared tables by: table, column, who reads, and the index of migrations/0001_shared_tables.sql.
const READ_BY: &[(&str, &str, &str, &str)] = &[
    ("orders", "created_at", "order_cleanup and cod_auto_confirm read", "(created_at, id) where status = 'pending'"),
    (
        "order_items",
        "reserved_at",
        "reservation_cleanup reads",
        "(coalesce(reserved_at, '-infinity'), id) where reservation_id is not null and coalesce(reservation_status, 'reserved') = 'reserved'",
    ),
    ("sessions", "updated_at", "session_cleanup reads", "(updated_at, id)"),
    ("carts", "updated_at", "cart_cleanup reads", "(updated_at, id) where not checked_out"),
];

/// A column that exists.
#[derive(sqlx::FromRow)]
struct Existing {
    table_name: String,
    name: String,
    kind: String,
    /// An insert that leaves it out fails.
    required: bool,
}

/// Compares what exists with the contract. Returns the tables that exist.
///
/// # Errors
///
/// [`MigrateError::Contract`] with every difference.
pub(super) async fn verify(connection: &mut PgConnection) -> Result<Vec<&'static str>, MigrateError> {
    let existing: Vec<Existing> = sqlx::query_as(include_str!("sql/columns.sql")).fetch_all(connection).await?;
    let (mut adopted, mut wrong) = (Vec::new(), Vec::new());
    for (table, columns) in CONTRACT {
        let present: Vec<_> = existing.iter().filter(|column| column.table_name == *table).collect();
        if present.is_empty() {
            continue;
        }
        adopted.push(*table);
        for (column, types) in *columns {
            match present.iter().find(|present| present.name == *column) {
                None => wrong.push(format!("public.{table} has no column {column} ({})", types[0])),
                Some(Existing { kind, .. }) if !types.contains(&kind.as_str()) => {
                    wrong.push(format!("public.{table}.{column} is {kind}, {} is expected", types.join(" or ")));
                }
                Some(_) => {}
            }
        }
        let unwritten = |column: &&&Existing| column.required && !WRITTEN.1.contains(&column.name.as_str());
        for column in present.iter().filter(|_| *table == WRITTEN.0).filter(unwritten) {
            wrong.push(format!("public.{table}.{} must have a default, the worker gives it no value", column.name));
        }
    }
    if wrong.is_empty() { Ok(adopted) } else { Err(MigrateError::Contract(wrong)) }
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
            format!("orders with the unknown status `{status}`: {orders}; payments for them are rejected")
        })
        .collect())
}

/// Adopted tables that a job would read as a whole, with the index that would spare it that.
///
/// # Errors
///
/// When the database does not answer.
pub(super) async fn missing_indexes(
    connection: &mut PgConnection,
    adopted: &[&'static str],
) -> Result<Vec<String>, sqlx::Error> {
    let mut missing = Vec::new();
    for (table, column, jobs, index) in READ_BY.iter().filter(|(table, ..)| adopted.contains(table)) {
        let (present,): (bool,) =
            sqlx::query_as(include_str!("sql/index.sql")).bind(table).bind(column).fetch_one(&mut *connection).await?;
        if !present {
            missing.push(format!(
                "public.{table} has no index that begins with {column}, by which {jobs}: create index concurrently on public.{table} {index}"
            ));
        }
    }
    Ok(missing)
}
