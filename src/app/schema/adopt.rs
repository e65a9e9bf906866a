//! Shared tables that exist already are adopted: verified, never altered.

use sqlx::PgConnection;

use super::MigrateError;
use crate::shop::orders::Status;

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
            ("id", ID),
            ("order_number", ID),
            ("user_id", ID),
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
            ("id", ID),
            ("order_id", ID),
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
            ("id", ID),
            ("order_id", ID),
            ("old_status", TEXT),
            ("new_status", TEXT),
            ("reason", TEXT),
            ("notes", TEXT),
            ("created_at", TIME),
        ],
    ),
    ("sessions", &[("id", ID), ("user_id", ID), ("updated_at", TIME)]),
    ("carts", &[("id", ID), ("user_id", ID), ("checked_out", &["boolean"]), ("updated_at", TIME)]),
    ("cart_items", &[("cart_id", ID), ("sku", TEXT), ("quantity", &["integer"])]),
];
/// What is a name for others: in our own tables it is text.
const ID: &[&str] = &["text", "character varying", "uuid", "bigint", "integer"];
const TEXT: &[&str] = &["text", "character varying"];
const TIME: &[&str] = &["timestamp with time zone"];

/// The one shared table that the worker adds rows to, and the columns that it gives a value.
const WRITTEN: (&str, &[&str]) =
    ("order_status_history", &["order_id", "old_status", "new_status", "reason", "notes", "created_at"]);

/// Columns that hold the id of another table: table, column, and whose.
const REFERS: &[(&str, &str, &str)] = &[
    ("order_items", "order_id", "orders"),
    ("order_status_history", "order_id", "orders"),
    ("cart_items", "cart_id", "carts"),
];

/// What the worker writes, by table; where it deletes rows, any column.
const WRITES: &[(&str, &[&str])] = &[
    ("orders", &["status", "delivered", "updated_at"]),
    ("order_items", &["reservation_status"]),
    WRITTEN,
    ("sessions", &["id"]),
    ("carts", &["id"]),
];

/// What jobs read the shared tables by: table, column, who reads, and the index of migrations/0001_shared.sql.
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
    /// It is a column of a view.
    of_view: bool,
    /// Rows can be written through it; of a table always.
    writable: bool,
}

impl Existing {
    /// Columns of one family can hold the same ids.
    fn family(&self) -> &str {
        match self.kind.as_str() {
            "character varying" => "text",
            "integer" => "bigint",
            kind => kind,
        }
    }
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
    let column = |table: &str, name: &str| existing.iter().find(|one| one.table_name == table && one.name == name);
    for (table, name, whose) in REFERS {
        let Some(id) = column(whose, "id").filter(|id| ID.contains(&id.kind.as_str())) else { continue };
        let kind = &id.kind;
        match column(table, name).filter(|one| ID.contains(&one.kind.as_str())) {
            Some(one) if one.family() != id.family() => {
                wrong.push(format!(
                    "public.{table}.{name} is {}, and public.{whose}.id, which it names, is {kind}",
                    one.kind
                ));
            }
            // What migrations/0001_shared.sql makes has ids of text, and refers to a table.
            None if !adopted.contains(table) && (id.of_view || id.family() != "text") => {
                let why = if id.of_view { "a view".to_owned() } else { format!("adopted with an id of type {kind}") };
                wrong.push(format!(
                    "public.{table} does not exist, and public.{whose} is {why}: make it, with {name} {kind}"
                ));
            }
            _ => {}
        }
    }
    for (table, columns) in WRITES {
        for name in columns.iter().filter(|name| column(table, name).is_some_and(|one| !one.writable)) {
            wrong.push(format!(
                "public.{table}.{name} cannot be written through the view: it has to be a column of one table"
            ));
        }
    }
    if wrong.is_empty() { Ok(adopted) } else { Err(MigrateError::Contract(wrong)) }
}

/// Statuses of adopted orders that the machine does not know: payments for them are rejected, so they are said at once.
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

/// Shared tables whose ids have another type than the functions that look for them: their owner has changed it since the last
/// `order-worker migrate`, which makes these functions again.
pub(crate) async fn misfits<'c>(connection: impl sqlx::PgExecutor<'c>) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(include_str!("sql/misfits.sql")).fetch_all(connection).await
}

/// Adopted tables that a job would read as a whole, with the index that would spare it that.
pub(super) async fn missing_indexes(
    connection: &mut PgConnection,
    adopted: &[&'static str],
) -> Result<Vec<String>, sqlx::Error> {
    let mut missing = Vec::new();
    for (table, column, jobs, index) in READ_BY.iter().filter(|(table, ..)| adopted.contains(table)) {
        let (present, partitioned): (Option<bool>, bool) =
            sqlx::query_as(include_str!("sql/index.sql")).bind(table).bind(column).fetch_one(&mut *connection).await?;
        match present {
            Some(true) => {}
            None => missing.push(format!(
                "public.{table} is a view: see that its table has an index on what is here {index}, by which {jobs}"
            )),
            Some(false) => {
                // Postgres makes none of a partitioned table concurrently.
                let create = if partitioned { "create index" } else { "create index concurrently" };
                missing.push(format!(
                    "public.{table} has no index that begins with {column}, by which {jobs}: {create} on public.{table} {index}"
                ));
            }
        }
    }
    Ok(missing)
}
