//! The order service's side of the database, for tests: places orders, and reads what became of them.

use std::collections::HashSet;
use std::time::Duration;

use rig::plan::Plan;
use rig::wait;
use sqlx::PgPool;

/// A database with orders.
#[derive(Clone, Debug)]
pub struct Shop {
    pub pool: PgPool,
}

impl Shop {
    pub async fn open(url: &str) -> Shop {
        Shop { pool: sqlx::postgres::PgPoolOptions::new().max_connections(8).connect(url).await.unwrap() }
    }

    /// Places pending card orders of 10.10 USD with one reserved item each (`res-<order>`).
    pub async fn place(&self, orders: &[String]) {
        rig::orders::place(&self.pool, orders).await;
    }

    pub async fn place_one(&self, order: &str) {
        self.place(&[order.to_owned()]).await;
    }

    pub async fn status(&self, order: &str) -> String {
        self.text("select status from orders where id = $1", order).await
    }

    /// The statuses that an order went through, by its history.
    pub async fn history(&self, order: &str) -> Vec<String> {
        sqlx::query_scalar("select new_status from order_status_history where order_id = $1 order by id")
            .bind(order)
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    /// Outcome and reason of an event by its CloudEvent id; of a quarantined one too.
    pub async fn outcomes(&self, event_id: &str) -> Vec<(String, Option<String>)> {
        sqlx::query_as("select outcome, reason from order_worker.inbox_status where event_id = $1 order by outcome")
            .bind(event_id)
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    /// The kinds of incidents of an order.
    pub async fn incidents(&self, order: &str) -> Vec<String> {
        sqlx::query_scalar("select kind from order_worker.incidents where order_id = $1 order by kind")
            .bind(order)
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    pub async fn text(&self, sql: &'static str, parameter: &str) -> String {
        sqlx::query_scalar(sql).bind(parameter).fetch_one(&self.pool).await.unwrap()
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    /// Rows that are neither settled nor dead, in all queues.
    pub async fn unsettled(&self) -> i64 {
        self.count("select count(*) from order_worker.pending where state in ('ready', 'waiting', 'blocked')").await
    }

    /// Waits until nothing is left to do.
    pub async fn settled(&self, limit: Duration) {
        wait::until("all queues to be empty", limit, async || self.unsettled().await == 0).await;
    }

    /// How often an event was taken in, repetitions too.
    pub async fn deliveries(&self) -> usize {
        let deliveries = "select coalesce(sum(1 + duplicates), 0)::bigint from order_worker.inbox_status";
        usize::try_from(self.count(deliveries).await).unwrap()
    }

    /// Waits until every message of a plan was taken in, repetitions too, and nothing is left to do.
    pub async fn has_settled(&self, plan: &Plan, limit: Duration) {
        // Repetitions may be of messages that came already, so each event is looked for as well.
        let events = "select count(distinct event_id) from order_worker.inbox";
        let ids = plan.messages.iter().filter_map(|message| message.id.as_ref()).collect::<HashSet<_>>().len();
        let all = async || {
            self.deliveries().await >= plan.messages.len() && self.count(events).await >= i64::try_from(ids).unwrap()
        };
        wait::until("all messages to be accepted", limit, all).await;
        self.settled(limit).await;
    }

    /// Runs statements of the test's own.
    pub async fn execute(&self, sql: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&self.pool).await.unwrap();
    }
}
