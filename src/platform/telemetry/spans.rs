//! The spans of the worker, named and tagged by OpenTelemetry's semantic conventions (1.43) for messaging, RPC and databases, in one
//! place so that they stay alike.
//!
//! Each takes the `traceparent` that its row or request carries. A step that fails is marked by [`failed`].
//!
//! ```text
//! publisher ── accept payment.confirmed ── apply payment.confirmed ─┬─ publish orders.order.status_changed ── subscriber
//!                  └ store inbox               └ apply inbox        └─ warehouse.v1.WarehouseService/ConfirmReservation
//!                      └ INSERT inbox              ├ SELECT orders
//!                                                  ├ UPDATE orders
//!                                                  └ COMMIT
//! ```
//!
//! Dapr pushes its events, so both steps of the inbox are of the type `process`, not `receive`. What is done once for many messages
//! ([`batch`]) is a trace of its own that links them; for one message it is a part of the message's.

use tonic::Code;
use tracing::Span;
use tracing::field::Empty;

use super::trace;
use crate::platform::settings::RemoteAddr;

macro_rules! message {
    ($kind:literal, $type:literal, $name:literal, $topic:expr, $event_id:expr, $traceparent:expr) => {{
        let span = tracing::info_span!(
            $name,
            otel.name = %format_args!(concat!($name, " {}"), $topic),
            otel.kind = $kind,
            otel.status_code = Empty,
            error.type = Empty,
            messaging.system = "dapr",
            messaging.operation.type = $type,
            messaging.operation.name = $name,
            messaging.destination.name = $topic,
            messaging.message.id = $event_id,
        );
        trace::set_parent(&span, $traceparent);
        span
    }};
}

/// Accepting an event into the inbox.
#[must_use]
pub fn accept(topic: &str, event_id: &str, traceparent: Option<&str>) -> Span {
    message!("consumer", "process", "accept", topic, event_id, traceparent)
}

/// Applying an event of the inbox to its order.
#[must_use]
pub fn apply(topic: &str, event_id: &str, traceparent: Option<&str>) -> Span {
    message!("consumer", "process", "apply", topic, event_id, traceparent)
}

/// Publishing an announcement of the outbox through Dapr.
#[must_use]
pub fn publish(topic: &str, event_id: &str, traceparent: Option<&str>) -> Span {
    message!("producer", "send", "publish", topic, event_id, traceparent)
}

/// What is done at once for messages with these traceparents: a transaction, a round of sends. A part of the only one's trace; with
/// more it links those that are sampled, of which the SDK keeps 128.
#[must_use]
pub fn batch<'a>(name: &'static str, traceparents: impl ExactSizeIterator<Item = Option<&'a str>>) -> Span {
    let span = tracing::info_span!(
        parent: None,
        "batch",
        otel.name = name,
        otel.kind = "internal",
        otel.status_code = Empty,
        error.type = Empty,
        messaging.batch.message_count = Empty,
    );
    if span.is_disabled() {
        return span;
    }
    let count = traceparents.len();
    if count > 1 {
        // The conventions want it on batches alone.
        span.record("messaging.batch.message_count", i64::try_from(count).unwrap_or(i64::MAX));
    }
    for traceparent in traceparents {
        if count == 1 {
            trace::set_parent(&span, traceparent);
        } else {
            trace::link(&span, traceparent);
        }
    }
    span
}

/// Making a batch of a run: of a job, or of a replay.
#[must_use]
pub fn run(name: &str) -> Span {
    tracing::info_span!(
        "run",
        otel.name = %format_args!("run {name}"),
        otel.kind = "internal",
        otel.status_code = Empty,
        error.type = Empty,
    )
}

/// Asking Postgres. `summary` is an operation and its table, as `INSERT inbox`: one of few. See `database::traced`.
#[must_use]
pub fn query(summary: &'static str, database: &str, host: &str, port: u16) -> Span {
    tracing::info_span!(
        "query",
        otel.name = summary,
        otel.kind = "client",
        otel.status_code = Empty,
        error.type = Empty,
        db.system.name = "postgresql",
        db.namespace = database,
        db.operation.name = summary.split(' ').next(),
        db.query.summary = summary,
        db.response.status_code = Empty,
        server.address = host,
        server.port = i64::from(port),
    )
}

/// Calling `method` of the gRPC service `service` at `server`, as it is configured; see [`answered`].
#[must_use]
pub fn call(service: &'static str, method: &str, server: &RemoteAddr, traceparent: Option<&str>) -> Span {
    let span = tracing::info_span!(
        "call",
        otel.name = %format_args!("{service}/{method}"),
        otel.kind = "client",
        otel.status_code = Empty,
        error.type = Empty,
        rpc.system.name = "grpc",
        rpc.method = %format_args!("{service}/{method}"),
        rpc.response.status_code = Empty,
        server.address = server.host(),
        server.port = i64::from(server.port()),
    );
    trace::set_parent(&span, traceparent);
    span
}

/// The other side answered with `code`, or did not answer in time (`DeadlineExceeded`).
pub fn answered(call: &Span, code: Code) {
    call.record("rpc.response.status_code", code_name(code));
    if code != Code::Ok {
        failed(call, code_name(code));
    }
}

/// The step failed. `kind` is one of few: the name of a gRPC code, an SQLSTATE, `timeout`, `undecodable`, `rolled_back`.
pub fn failed(step: &Span, kind: &str) {
    step.record("otel.status_code", "ERROR");
    step.record("error.type", kind);
}

/// A code as gRPC's documentation writes it, and the conventions with it.
#[must_use]
pub const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanKind, Status};

    use super::super::capture;
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    #[test]
    fn one_trace_goes_from_the_publisher_to_the_warehouse() {
        let traced = capture::traces(capture::settings());
        traced.within(|| {
            let mut stored = Some(PARENT.to_owned());
            for step in [
                |stored: Option<&str>| accept("payment.confirmed", "e1", stored),
                |stored: Option<&str>| apply("payment.confirmed", "e1", stored),
                |stored: Option<&str>| publish("orders.order.status_changed", "a1", stored),
                |stored: Option<&str>| {
                    let server = RemoteAddr::try_from("warehouse:81".to_owned()).unwrap();
                    call("warehouse.v1.WarehouseService", "ConfirmReservation", &server, stored)
                },
            ] {
                let span = step(stored.as_deref());
                stored = span.in_scope(|| trace::continue_trace(stored.as_deref()));
                failed(&span, "INTERNAL");
            }
        });
        let spans = traced.spans();
        let seen: Vec<_> = spans.iter().map(|span| (span.name.as_ref(), span.span_kind.clone())).collect();
        assert_eq!(
            seen,
            [
                ("accept payment.confirmed", SpanKind::Consumer),
                ("apply payment.confirmed", SpanKind::Consumer),
                ("publish orders.order.status_changed", SpanKind::Producer),
                ("warehouse.v1.WarehouseService/ConfirmReservation", SpanKind::Client),
            ]
        );
        assert_eq!(spans[0].parent_span_id.to_string(), PARENT[36..52]);
        for pair in spans.windows(2) {
            assert_eq!(pair[1].parent_span_id, pair[0].span_context.span_id());
            assert_eq!(pair[1].span_context.trace_id().to_string(), PARENT[3..35]);
        }
        assert!(matches!(spans[0].status, Status::Error { .. }));
        let attributes: Vec<_> = spans[2].attributes.iter().map(|kv| (kv.key.as_str(), kv.value.as_str())).collect();
        assert!(attributes.contains(&("messaging.destination.name", "orders.order.status_changed".into())));
        assert!(attributes.contains(&("messaging.message.id", "a1".into())));
    }

    #[test]
    fn a_batch_is_part_of_its_only_message_and_links_several() {
        let traced = capture::traces(capture::settings());
        traced.within(|| {
            drop(batch("one", [Some(PARENT)].into_iter()));
            drop(batch("many", [Some(PARENT), None, Some(UNSAMPLED), Some("garbage")].into_iter()));
        });
        let [one, many] = &traced.spans()[..] else { panic!("two spans") };
        assert_eq!((one.parent_span_id.to_string().as_str(), one.links.links.len()), (&PARENT[36..52], 0));
        let links: Vec<_> = many.links.links.iter().map(|link| link.span_context.span_id().to_string()).collect();
        assert_eq!(links, [&PARENT[36..52]]);
        assert_ne!(many.span_context.trace_id().to_string(), PARENT[3..35], "it is nobody's child");
        let count = |span: &opentelemetry_sdk::trace::SpanData| {
            span.attributes
                .iter()
                .any(|kv| kv.key.as_str() == "messaging.batch.message_count" && kv.value.as_str() == "4")
        };
        assert!(count(many) && !count(one));
    }
}
