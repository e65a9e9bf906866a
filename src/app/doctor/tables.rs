//! The tables as others have made them, restored them, or published them.

use super::Findings;
use crate::app::schema::{self, Behind, SHARED_TABLES};
use crate::platform::database::PgPool;

pub(super) async fn examine(pool: &PgPool, findings: &mut Findings) {
    let mut connection = match pool.acquire().await {
        Ok(connection) => connection,
        Err(error) => {
            return findings.warning("shared tables", format!("not known: {error}"), "see what stands above");
        }
    };
    match schema::refused_statuses(&mut connection, &SHARED_TABLES).await {
        Ok(refused) if refused.is_empty() => findings.ok("shared tables", "take every status that the worker writes"),
        Ok(refused) => {
            let next = "their owner widens the columns, or takes the values into the CHECK: migrations/README.md";
            findings.broken("shared tables", refused.join("; "), next);
        }
        Err(error) => {
            let next = "grant temporary on the database to this role, or ask with MIGRATE_DATABASE_URL: order-worker migrate --dry-run";
            findings.warning("shared tables", format!("not tried: {error}"), next);
        }
    }
    match schema::published_without_identity(&mut connection).await {
        Ok(published) if published.is_empty() => findings.ok("publications", "none forbids what the worker does"),
        Ok(published) => findings.broken("publications", published.join("; "), "the owner of the table does that"),
        Err(error) => findings.warning("publications", format!("not known: {error}"), "see what stands above"),
    }
    match row_security(&mut connection).await {
        Ok(held) if held.is_empty() => findings.ok("row-level security", "holds no rows back from this role"),
        Ok(held) => {
            let seen = format!(
                "{}: an order that is not seen does not exist for the worker, one that may not be changed looks locked by another writer",
                held.join("; ")
            );
            let next = "the owner makes a policy for this role that lets all rows through (for all, using (true)), or: alter role … bypassrls";
            findings.warning("row-level security", seen, next);
        }
        Err(error) => findings.warning("row-level security", format!("not known: {error}"), "see what stands above"),
    }
    match schema::behind(&mut connection).await {
        Ok(behind) if behind.is_empty() => findings.ok("sequences", "none stands behind the rows that use it"),
        Ok(behind) => {
            let told =
                |Behind { sequence, last, needed }: &Behind| format!("{sequence} stands at {last}, behind {needed}");
            let seen = behind.iter().map(told).collect::<Vec<_>>().join("; ");
            findings.broken("sequences", seen, "order-worker migrate sets the worker's own and names the others");
        }
        Err(error) => findings.warning("sequences", format!("not known: {error}"), "order-worker migrate"),
    }
}

async fn row_security(connection: &mut sqlx::PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let role: String = sqlx::query_scalar("select current_user::text").fetch_one(&mut *connection).await?;
    schema::held_back(connection, &role).await
}
