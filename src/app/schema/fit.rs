//! Whether the shared tables take what the worker writes: tried on copies of their definitions, which are rolled back.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::shop::orders::{Action, Status};

/// The values of `order_items.reservation_status` that are nobody's intent.
const ANSWERS: [&str; 4] = ["reserved", "confirmed", "released", "refused"];

/// What does not fit, of the shared tables that exist: each value that a column refuses, with the database's reason. Nothing is left
/// behind. The columns may be narrower than texts that are cut to them; these are no difference.
///
/// # Errors
///
/// When it cannot be tried: the role may not make temporary tables, or the database does not answer.
pub async fn refused_statuses(connection: &mut PgConnection, tables: &[&str]) -> Result<Vec<String>, sqlx::Error> {
    let statuses: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
    let reservations: Vec<&str> =
        ANSWERS.into_iter().chain([Action::Confirm, Action::Release].map(Action::intent)).collect();
    let mut wrong = Vec::new();
    let mut tx = connection.begin().await?;
    for (table, column, values) in [
        ("orders", "status", &statuses),
        ("order_items", "reservation_status", &reservations),
        ("order_status_history", "old_status", &statuses),
        ("order_status_history", "new_status", &statuses),
    ] {
        if !tables.contains(&table) {
            continue;
        }
        // A copy has the columns, their types and their CHECKs, and none of the triggers.
        let copy = format!(
            "drop table if exists pg_temp.order_worker_fit;
             create temporary table order_worker_fit (like public.{table} including constraints) on commit drop;
             do $$ declare c name; begin
                 for c in select attname from pg_attribute
                          where attrelid = 'pg_temp.order_worker_fit'::regclass and attnum > 0 and attnotnull and not attisdropped loop
                     execute format('alter table pg_temp.order_worker_fit alter column %I drop not null', c);
                 end loop;
             end $$"
        );
        sqlx::raw_sql(AssertSqlSafe(copy)).execute(&mut *tx).await?;
        for value in values {
            let mut trial = tx.begin().await?;
            let insert = format!("insert into pg_temp.order_worker_fit ({column}) values ($1)");
            let inserted = sqlx::query(AssertSqlSafe(insert)).bind(value).execute(&mut *trial).await;
            trial.rollback().await?;
            match inserted {
                Ok(_) => {}
                Err(sqlx::Error::Database(error)) => {
                    wrong.push(format!("public.{table}.{column} does not take `{value}`: {}", error.message()));
                }
                Err(error) => return Err(error),
            }
        }
    }
    tx.rollback().await?;
    let full: Vec<String> = sqlx::query_scalar(include_str!("sql/never_null.sql")).fetch_all(connection).await?;
    wrong.extend(full.iter().map(|column| {
        format!("public.order_status_history.{column} does not take NULL, which stands where there is nothing to say")
    }));
    Ok(wrong)
}

/// Shared tables of which row-level security may hold rows back from a role. An order that it does not see does not exist for it; one
/// that it may not change looks as if another writer had locked it.
pub async fn held_back(connection: &mut PgConnection, role: &str) -> Result<Vec<String>, sqlx::Error> {
    let found: Vec<(String, String)> =
        sqlx::query_as(include_str!("sql/policies.sql")).bind(role).fetch_all(connection).await?;
    Ok(found
        .into_iter()
        .map(|(table, commands)| {
            format!("row-level security of public.{table} may hold rows back from {role} ({commands})")
        })
        .collect())
}

/// Shared tables from which the worker deletes, or which it changes, and which a publication refuses to let it: they have no replica
/// identity.
pub async fn published_without_identity(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let found: Vec<(String, String)> = sqlx::query_as(include_str!("sql/published.sql")).fetch_all(connection).await?;
    Ok(found
        .into_iter()
        .map(|(table, publications)| {
            format!(
                "public.{table} has no primary key, and {publications} publishes its changes: what the worker deletes there fails; \
                 alter table public.{table} replica identity full, or give it a key"
            )
        })
        .collect())
}
