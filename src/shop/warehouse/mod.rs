//! Calls to the warehouse: proto/warehouse/v1/warehouse.proto.

pub mod settings;

use std::collections::HashMap;
use std::time::Duration;

use crate::platform::database::PgPool;
use serde::Deserialize;
use sqlx::PgConnection;
use tonic::{Code, Request, Status};

use super::orders::Action;
use super::{Answer, Metrics};
use crate::engine::egress::{Channel, Done};
use crate::engine::queue::{Outcome, Queue, Reaction, Row, Verdict};
use crate::platform::consul::Balancer;
use crate::platform::database::column;
use crate::platform::settings::RemoteAddr;
use crate::platform::telemetry::{spans, trace};
use v1::warehouse_service_client::WarehouseServiceClient;
use v1::{ConfirmReservationRequest, ReleaseReservationRequest};

/// The warehouse's protocol, generated from proto/.
pub mod v1 {
    #![allow(missing_docs, clippy::all, clippy::unwrap_used)]
    tonic::include_proto!("warehouse.v1");
}

/// The channel to the warehouse service. Its circuit breaker is the pause of the queue.
#[derive(Clone, Debug)]
pub struct Warehouse {
    client: WarehouseServiceClient<Balancer>,
    /// As it is configured; behind the connection may be others, of that name.
    server: RemoteAddr,
    timeout: Duration,
    pool: PgPool,
    metrics: Metrics,
}

#[derive(Deserialize)]
struct Call {
    reservation_id: String,
    #[serde(default)]
    reason: String,
}

impl Warehouse {
    /// A channel over a connection to `server` that is made when it is needed; `timeout` is the deadline of one call; by `pool` it is
    /// known what items still want.
    #[must_use]
    pub fn new(connection: Balancer, server: RemoteAddr, timeout: Duration, pool: PgPool, metrics: Metrics) -> Self {
        Self { client: WarehouseServiceClient::new(connection), server, timeout, pool, metrics }
    }

    async fn call(&self, row: &Row, call: Call, traceparent: Option<&str>) -> Result<(), Status> {
        let mut client = self.client.clone();
        if action(row) == Action::Confirm {
            let message = ConfirmReservationRequest { reservation_id: call.reservation_id };
            client.confirm_reservation(self.request(message, row, traceparent)).await.map(|_| ())
        } else {
            let message = ReleaseReservationRequest { reservation_id: call.reservation_id, reason: call.reason };
            client.release_reservation(self.request(message, row, traceparent)).await.map(|_| ())
        }
    }

    fn request<T>(&self, message: T, row: &Row, traceparent: Option<&str>) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        let metadata = request.metadata_mut();
        if let Ok(key) = row.event_id.parse() {
            metadata.insert("idempotency-key", key);
        }
        trace::send(traceparent, |name, value| {
            if let Ok(value) = value.parse() {
                metadata.insert(name, value);
            }
        });
        request
    }
}

/// The queue of calls. A refusal is an answer, so that a dead call holds back nothing.
pub const QUEUE: Queue = Queue::new("warehouse");

/// The service, as in proto/warehouse/v1/warehouse.proto.
const SERVICE: &str = "warehouse.v1.WarehouseService";

/// Which call a row is: what is no Confirm gives goods back.
fn action(row: &Row) -> Action {
    Action::named(&row.topic).unwrap_or(Action::Release)
}

impl Channel for Warehouse {
    const STEP: &'static str = "send warehouse";
    const WRITES_ANSWERS: bool = true;

    /// A call that its items contradict: a Confirm of what is being released, a Release of what is kept. The later call stands behind it.
    /// A Confirm that was tried may have been heard: it is made until it is answered, unless the Release was tried before it.
    async fn obsolete(&self, rows: &[Row], in_doubt: &[bool]) -> Result<HashMap<i64, String>, sqlx::Error> {
        let found: Vec<(i64, String)> = sqlx::query_as(include_str!("sql/obsolete.sql"))
            .bind(column(rows, |row| row.id))
            .bind(column(rows, |row| row.subject.as_str()))
            .bind(column(rows, |row| row.key.as_str()))
            .bind(column(rows, |row| action(row) == Action::Confirm))
            .bind(in_doubt)
            .fetch_all(&self.pool)
            .await?;
        Ok(found.into_iter().collect())
    }

    /// All items of the order that share the reservation learn the answer, and what was refused is an incident.
    async fn settled(&self, tx: &mut PgConnection, rows: &[Done<'_>]) -> Result<(), sqlx::Error> {
        let answered = |one: &&Done<'_>| matches!(one.outcome, Outcome::Sent | Outcome::Refused);
        let rows: Vec<&Done<'_>> = rows.iter().filter(answered).collect();
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(include_str!("sql/answer.sql"))
            .bind(column(&rows, |one| one.row.id))
            .bind(column(&rows, |one| one.row.day))
            .bind(column(&rows, |one| one.row.subject.as_str()))
            .bind(column(&rows, |one| one.row.key.as_str()))
            .bind(column(&rows, |one| action(one.row) == Action::Confirm))
            .bind(column(&rows, |one| one.outcome == Outcome::Refused))
            .bind(column(&rows, |one| one.reason))
            .execute(tx)
            .await?;
        Ok(())
    }

    async fn send(&self, row: &Row) -> Verdict {
        let call: Call = match serde_json::from_str(&row.body) {
            Ok(call) => call,
            Err(error) => return Verdict::Refused(format!("not a call: {error}")),
        };
        let action = action(row);
        let span = spans::call(SERVICE, action.method(), &self.server, row.traceparent.as_deref());
        let traceparent = span.in_scope(|| trace::continue_trace(row.traceparent.as_deref()));
        let answer = tokio::time::timeout(self.timeout, self.call(row, call, traceparent.as_deref()));
        let verdict = match tracing::Instrument::instrument(answer, span.clone()).await {
            Ok(Ok(())) => {
                spans::answered(&span, Code::Ok);
                Verdict::Sent
            }
            Ok(Err(status)) => {
                spans::answered(&span, status.code());
                verdict(action, &status)
            }
            Err(_) => {
                spans::answered(&span, Code::DeadlineExceeded);
                Verdict::Failed(format!("no answer within {:?}", self.timeout))
            }
        };
        let result = match verdict {
            Verdict::Sent => Answer::Success,
            Verdict::Refused(_) => Answer::Refused,
            _ => Answer::Failed,
        };
        self.metrics.warehouse_answered(action, result);
        verdict
    }

    fn log(&self, row: &Row, reaction: &Reaction) {
        let (method, order_id) = (&row.topic, &row.subject);
        let reservation_id = &row.key;
        match reaction {
            Reaction::Dead(error) => tracing::error!(
                attempts = row.attempts + 1,
                "Warehouse call given up: method={method}, reservation_id={reservation_id}, order_id={order_id}, error={error}"
            ),
            Reaction::Settle { outcome: Outcome::Obsolete, reason } => tracing::info!(
                "Warehouse call not made: method={method}, reservation_id={reservation_id}, order_id={order_id}, reason={}",
                reason.as_deref().unwrap_or_default()
            ),
            Reaction::Settle { reason, .. } => tracing::warn!(
                "Warehouse refused: method={method}, reservation_id={reservation_id}, order_id={order_id}, error={}",
                reason.as_deref().unwrap_or_default()
            ),
            Reaction::Retry(error) | Reaction::Wait(error) | Reaction::Pause(error) => {
                tracing::warn!(
                    attempts = row.attempts,
                    "Warehouse call failed, it is tried again: method={method}, reservation_id={reservation_id}, order_id={order_id}, error={error}"
                );
            }
            Reaction::Keep => {}
        }
    }
}

/// The meaning of a status code, as proto/warehouse/v1/warehouse.proto has it. What was done before, by a call whose answer was lost,
/// is done; codes by which the warehouse says no are an answer; those of a bad moment are not.
fn verdict(action: Action, status: &Status) -> Verdict {
    let reason = format!("{:?}: {}", status.code(), status.message());
    match (status.code(), action) {
        // Confirmed before, or released before.
        (Code::AlreadyExists, _) => Verdict::Sent,
        // Nothing is reserved there: that is what a release is for. A confirmation has lost its goods.
        (Code::NotFound, Action::Release) => Verdict::Sent,
        (Code::NotFound | Code::FailedPrecondition | Code::InvalidArgument | Code::OutOfRange, _) => {
            Verdict::Refused(reason)
        }
        _ => Verdict::Failed(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_means_what_the_protocol_says_of_it() {
        use Action::{Confirm, Release};
        let means = |code, method| match verdict(method, &Status::new(code, "")) {
            Verdict::Sent => "done",
            Verdict::Refused(_) => "refused",
            Verdict::Failed(_) => "again",
            other => panic!("{code:?}: {other:?}"),
        };
        for (code, confirm, release) in [
            (Code::AlreadyExists, "done", "done"),
            (Code::NotFound, "refused", "done"),
            (Code::FailedPrecondition, "refused", "refused"),
            (Code::InvalidArgument, "refused", "refused"),
            (Code::OutOfRange, "refused", "refused"),
            (Code::Aborted, "again", "again"),
            (Code::Internal, "again", "again"),
            (Code::Unknown, "again", "again"),
            (Code::ResourceExhausted, "again", "again"),
            (Code::DataLoss, "again", "again"),
            (Code::Unavailable, "again", "again"),
            (Code::DeadlineExceeded, "again", "again"),
            (Code::Cancelled, "again", "again"),
            (Code::Unauthenticated, "again", "again"),
            (Code::PermissionDenied, "again", "again"),
            (Code::Unimplemented, "again", "again"),
        ] {
            assert_eq!((means(code, Confirm), means(code, Release)), (confirm, release), "{code:?}");
        }
    }
}
