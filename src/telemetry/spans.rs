//! The spans of the worker, named and tagged by OpenTelemetry's semantic conventions for messaging
//! and RPC, in one place so that they stay alike.
//!
//! Each takes the `traceparent` that its row or request carries. A step that fails is marked by [`failed`].
//!
//! ```text
//! publisher ── receive payment.confirmed ── process payment.confirmed ─┬─ send orders.order.status_changed ── subscriber
//!                                                                      └─ warehouse.v1.WarehouseService/ConfirmReservation
//! ```

use tonic::Code;
use tracing::Span;
use tracing::field::Empty;

use super::labels::WarehouseMethod;
use super::trace;

/// The service that [`warehouse_call`] calls, as in proto/warehouse/v1/warehouse.proto.
const WAREHOUSE: &str = "warehouse.v1.WarehouseService";

/// Accepting an event into the inbox.
#[must_use]
pub fn receive(topic: &str, event_id: &str, traceparent: Option<&str>) -> Span {
    let span = tracing::info_span!(
        "receive",
        otel.name = %format_args!("receive {topic}"),
        otel.kind = "consumer",
        otel.status_code = Empty,
        error.type = Empty,
        messaging.system = "dapr",
        messaging.operation.type = "receive",
        messaging.operation.name = "receive",
        messaging.destination.name = topic,
        messaging.message.id = event_id,
    );
    trace::set_parent(&span, traceparent);
    span
}

/// Applying an event of the inbox to its order.
#[must_use]
pub fn process(topic: &str, event_id: &str, traceparent: Option<&str>) -> Span {
    let span = tracing::info_span!(
        "process",
        otel.name = %format_args!("process {topic}"),
        otel.kind = "consumer",
        otel.status_code = Empty,
        error.type = Empty,
        messaging.system = "dapr",
        messaging.operation.type = "process",
        messaging.operation.name = "process",
        messaging.destination.name = topic,
        messaging.message.id = event_id,
    );
    trace::set_parent(&span, traceparent);
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

/// Publishing an announcement of the outbox through Dapr.
#[must_use]
pub fn send(topic: &str, event_id: &str, traceparent: Option<&str>) -> Span {
    let span = tracing::info_span!(
        "send",
        otel.name = %format_args!("send {topic}"),
        otel.kind = "producer",
        otel.status_code = Empty,
        error.type = Empty,
        messaging.system = "dapr",
        messaging.operation.type = "send",
        messaging.operation.name = "publish",
        messaging.destination.name = topic,
        messaging.message.id = event_id,
    );
    trace::set_parent(&span, traceparent);
    span
}

/// Calling the warehouse; see [`answered`].
#[must_use]
pub fn warehouse_call(method: WarehouseMethod, traceparent: Option<&str>) -> Span {
    let method = method.rpc();
    let span = tracing::info_span!(
        "call",
        otel.name = %format_args!("{WAREHOUSE}/{method}"),
        otel.kind = "client",
        otel.status_code = Empty,
        error.type = Empty,
        rpc.system = "grpc",
        rpc.service = WAREHOUSE,
        rpc.method = method,
        rpc.grpc.status_code = Empty,
    );
    trace::set_parent(&span, traceparent);
    span
}

/// The warehouse answered with `code`.
pub fn answered(call: &Span, code: Code) {
    call.record("rpc.grpc.status_code", i32::from(code));
    if code != Code::Ok {
        failed(call, &format!("{code:?}"));
    }
}

/// The step failed. `kind` is one of few: the name of a gRPC code, `timeout`, `undecodable`, `rolled_back`.
pub fn failed(step: &Span, kind: &str) {
    step.record("otel.status_code", "ERROR");
    step.record("error.type", kind);
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanKind, Status};

    use super::super::capture;
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn one_trace_goes_from_the_publisher_to_the_warehouse() {
        let traced = capture::traces(capture::settings());
        traced.within(|| {
            let mut stored = Some(PARENT.to_owned());
            for step in [
                |stored: Option<&str>| receive("payment.confirmed", "e1", stored),
                |stored: Option<&str>| process("payment.confirmed", "e1", stored),
                |stored: Option<&str>| send("orders.order.status_changed", "a1", stored),
                |stored: Option<&str>| warehouse_call(WarehouseMethod::Confirm, stored),
            ] {
                let span = step(stored.as_deref());
                stored = span.in_scope(|| trace::continue_trace(stored.as_deref()));
                failed(&span, "Internal");
            }
        });
        let spans = traced.spans();
        let seen: Vec<_> = spans.iter().map(|span| (span.name.as_ref(), span.span_kind.clone())).collect();
        assert_eq!(
            seen,
            [
                ("receive payment.confirmed", SpanKind::Consumer),
                ("process payment.confirmed", SpanKind::Consumer),
                ("send orders.order.status_changed", SpanKind::Producer),
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
}
