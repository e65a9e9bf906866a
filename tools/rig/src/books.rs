//! Everybody's books laid side by side: what was published against what the database says, and that against what arrived.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use sqlx::{PgConnection, PgPool};

use crate::plan::{History, Plan};
use crate::redis::Entry;
use crate::sidecar::Published;
use crate::subscriber::{Received, STATUS_CHANGED};
use crate::warehouse::{Call, Method};

/// One announcement of a status as somebody outside saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// CloudEvent id.
    pub event_id: String,
    /// The order.
    pub order_id: String,
    /// What it became.
    pub new_status: String,
}

impl From<&Published> for Seen {
    fn from(published: &Published) -> Seen {
        let body = published.json();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let event_id = published.event_id().unwrap_or_default().to_owned();
        Seen { event_id, order_id: text("order_id"), new_status: text("new_status") }
    }
}

impl From<&Received> for Seen {
    fn from(received: &Received) -> Seen {
        Seen {
            event_id: received.event_id.clone(),
            order_id: received.order_id.clone(),
            new_status: received.new_status.clone(),
        }
    }
}

impl From<&Entry> for Seen {
    fn from(entry: &Entry) -> Seen {
        Seen {
            event_id: entry.event_id().to_owned(),
            order_id: entry.field("order_id").to_owned(),
            new_status: entry.field("new_status").to_owned(),
        }
    }
}

/// The sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Messages that the publisher's book has, repetitions included. The publisher's.
    pub published: usize,
    /// Events in the inbox. The database's, as all up to `calls`.
    pub accepted: usize,
    /// Deliveries of events that were there already.
    pub duplicates: usize,
    /// Events that changed their order.
    pub applied: usize,
    /// Events that asked for what had happened already.
    pub superseded: usize,
    /// Events that asked for what cannot be.
    pub rejected: usize,
    /// Events that could not be read.
    pub dead: usize,
    /// Changes of orders in their histories.
    pub changes: usize,
    /// Announcements written, by id.
    pub announced: usize,
    /// Calls to the warehouse written.
    pub calls: usize,
    /// Announcements received, by id. The subscriber's, as the next three.
    pub received: usize,
    /// Receptions of an announcement that was received already, under the same id: consumers drop them.
    pub repeated: usize,
    /// Announcements written and not received.
    pub lost: usize,
    /// Changes announced under two ids, and announcements that nobody wrote.
    pub doubled: usize,
    /// Announcements that came in the order of their order's changes. The broker's, where that was read too.
    pub in_order: usize,
    /// Reservations confirmed. The warehouse's, as the next.
    pub confirmed: usize,
    /// Reservations released.
    pub released: usize,
}

/// The sums, and every place where the books do not agree.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// The sums.
    pub sums: Sums,
    /// One sentence each; empty: everything is conserved.
    pub violations: Vec<String>,
}

struct Announcement {
    order_id: String,
    new_status: String,
    sent: bool,
}

impl Books {
    /// Compares. `seen` in the order in which it was seen: the first occurrences of one order's announcements must come in the
    /// order of its changes.
    pub async fn compare(plan: &Plan, pool: &PgPool, seen: &[Seen], calls: &[Call]) -> Books {
        Books::compare_with_stream(plan, pool, seen, seen, calls).await
    }

    /// The same with two books of announcements: `received` for what arrived, `stream` for the order, since a sidecar delivers
    /// entries side by side.
    pub async fn compare_with_stream(
        plan: &Plan,
        pool: &PgPool,
        received: &[Seen],
        stream: &[Seen],
        calls: &[Call],
    ) -> Books {
        let mut books = Books::default();
        books.sums.published = plan.messages.len();
        // In one snapshot: what is read first and what is read last are of the same moment.
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("set transaction isolation level repeatable read, read only").execute(&mut *tx).await.unwrap();
        books.inbox(plan, &mut tx).await;
        let histories = books.histories(plan, &mut tx).await;
        let announced = books.outbox(&histories, &mut tx).await;
        books.announcements(&announced, received);
        books.order_of_announcements(&histories, stream);
        books.warehouse(&mut tx, calls).await;
        tx.rollback().await.unwrap();
        books
    }

    /// Panics with every violation.
    #[track_caller]
    pub fn assert_conserved(&self) {
        assert!(self.violations.is_empty(), "{self}");
    }

    fn violated(&mut self, what: String) {
        self.violations.push(what);
    }

    async fn inbox(&mut self, plan: &Plan, connection: &mut PgConnection) {
        let rows: Vec<(String, String, i64)> =
            sqlx::query_as("select event_id, outcome, duplicates from order_worker.inbox_status")
                .fetch_all(connection)
                .await
                .unwrap();
        self.sums.accepted = rows.len();
        self.sums.duplicates = rows.iter().map(|(.., duplicates)| usize::try_from(*duplicates).unwrap()).sum();
        let ids = plan.ids();
        let mut known = BTreeSet::new();
        for (id, outcome, _) in rows {
            match outcome.as_str() {
                "applied" => self.sums.applied += 1,
                "superseded" => self.sums.superseded += 1,
                "rejected" => self.sums.rejected += 1,
                "dead" => self.sums.dead += 1,
                _ => self.violated(format!("event {id} is {outcome}")),
            }
            if (outcome == "dead") != plan.malformed.contains(&id) {
                self.violated(format!("event {id} is {outcome}"));
            }
            if !ids.contains(&id) {
                self.violated(format!("event {id} is in the inbox and was never published"));
            }
            known.insert(id);
        }
        for id in ids.difference(&known) {
            self.violated(format!("event {id} was published and is not in the inbox"));
        }
        let repetitions = plan.messages.len() - ids.len();
        if self.sums.duplicates < repetitions {
            self.violated(format!("{repetitions} repetitions were published, {} counted", self.sums.duplicates));
        }
    }

    async fn histories(&mut self, plan: &Plan, connection: &mut PgConnection) -> BTreeMap<String, History> {
        let rows: Vec<(String, String, History)> = sqlx::query_as(
            "select o.id, o.status, coalesce(array_agg(h.new_status order by h.id) filter (where h.id is not null), '{}')
             from orders o left join order_status_history h on h.order_id = o.id group by o.id",
        )
        .fetch_all(connection)
        .await
        .unwrap();
        let mut histories = BTreeMap::new();
        for (order, status, history) in rows {
            let Some(allowed) = plan.orders.get(&order) else { continue };
            if !allowed.contains(&history) || history.last() != Some(&status) {
                self.violated(format!("order {order} is {status} by {history:?}: {allowed:?} is expected"));
            }
            histories.insert(order, history);
        }
        let changes: usize = histories.values().map(Vec::len).sum();
        self.sums.changes = changes;
        if changes != self.sums.applied {
            self.violated(format!("{} events were applied, {changes} changes made", self.sums.applied));
        }
        histories
    }

    async fn outbox(
        &mut self,
        histories: &BTreeMap<String, History>,
        connection: &mut PgConnection,
    ) -> HashMap<String, Announcement> {
        let rows: Vec<(String, String, String, String)> = sqlx::query_as(
            "select b.event_id::text, b.subject, b.body ->> 'new_status', s.state
             from order_worker.outbox b join order_worker.outbox_status s using (day, id)
             where b.topic = $1 order by b.id",
        )
        .bind(STATUS_CHANGED)
        .fetch_all(connection)
        .await
        .unwrap();
        self.sums.announced = rows.len();
        let mut announced = HashMap::new();
        let mut by_order: BTreeMap<String, History> = BTreeMap::new();
        for (event_id, order_id, new_status, state) in rows {
            if state != "sent" {
                self.violated(format!("announcement {event_id} of order {order_id} is {state}"));
            }
            by_order.entry(order_id.clone()).or_default().push(new_status.clone());
            announced.insert(event_id, Announcement { order_id, new_status, sent: state == "sent" });
        }
        for (order, history) in histories {
            let told = by_order.get(order).cloned().unwrap_or_default();
            if told != *history {
                self.violated(format!("order {order} changed by {history:?} and announced {told:?}"));
            }
        }
        announced
    }

    fn announcements(&mut self, announced: &HashMap<String, Announcement>, seen: &[Seen]) {
        let mut ids = BTreeSet::new();
        let mut changes: HashMap<(&str, &str), &str> = HashMap::new();
        for Seen { event_id, order_id, new_status } in seen {
            if !ids.insert(event_id.as_str()) {
                self.sums.repeated += 1;
                continue;
            }
            let other = changes.insert((order_id, new_status), event_id);
            let written = announced.get(event_id);
            if written.is_none_or(|written| written.order_id != *order_id || written.new_status != *new_status) {
                self.sums.doubled += 1;
                self.violated(format!(
                    "announcement {event_id} ({order_id} {new_status}) was received and never written"
                ));
            } else if let Some(other) = other {
                self.sums.doubled += 1;
                self.violated(format!("order {order_id} {new_status} was announced as {other} and as {event_id}"));
            }
        }
        self.sums.received = ids.len();
        for (event_id, written) in announced.iter().filter(|(id, written)| written.sent && !ids.contains(id.as_str())) {
            self.sums.lost += 1;
            self.violated(format!("announcement {event_id} of order {} was sent and not received", written.order_id));
        }
    }

    fn order_of_announcements(&mut self, histories: &BTreeMap<String, History>, seen: &[Seen]) {
        let mut ids = BTreeSet::new();
        let mut firsts: BTreeMap<&str, History> = BTreeMap::new();
        for seen in seen.iter().filter(|seen| ids.insert(&seen.event_id)) {
            firsts.entry(&seen.order_id).or_default().push(seen.new_status.clone());
        }
        for (order, statuses) in firsts {
            if histories.get(order).is_none_or(|history| *history == statuses) {
                self.sums.in_order += statuses.len();
            } else {
                self.violated(format!("order {order} was first announced as {statuses:?}, its history is another"));
            }
        }
    }

    async fn warehouse(&mut self, connection: &mut PgConnection, calls: &[Call]) {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "select event_id, order_id, state from order_worker.outbox_status where channel = 'warehouse'",
        )
        .fetch_all(connection)
        .await
        .unwrap();
        let mut effects: BTreeMap<&str, (Method, &str)> = BTreeMap::new();
        for call in calls.iter().filter(|call| call.answered) {
            let key = call.idempotency_key.as_deref().unwrap_or_default();
            effects.insert(key, (call.method, &call.reservation_id));
        }
        for (event_id, order_id, state) in &rows {
            if state != "sent" || !effects.contains_key(event_id.as_str()) {
                self.violated(format!("warehouse call {event_id} of order {order_id} is {state}"));
            }
        }
        self.sums.calls = rows.len();
        if effects.len() != rows.len() {
            self.violated(format!("{} calls were written, the warehouse knows {}", rows.len(), effects.len()));
        }
        let count = |wanted| effects.values().filter(|(method, _)| *method == wanted).count();
        (self.sums.confirmed, self.sums.released) = (count(Method::Confirm), count(Method::Release));
        let reservations: BTreeSet<&str> = effects.values().map(|(_, reservation)| *reservation).collect();
        if reservations.len() != effects.len() {
            self.violated("a reservation was both confirmed and released".to_owned());
        }
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:#?}", self.sums)?;
        for violation in self.violations.iter().take(20) {
            writeln!(f, "- {violation}")?;
        }
        write!(f, "{} violations", self.violations.len())
    }
}
