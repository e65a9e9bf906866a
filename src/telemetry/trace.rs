//! W3C trace context: the `traceparent` that travels with an event.
//!
//! It arrives with the payment, is stored in the inbox row, copied to the outbox row and sent with
//! the announcement and the warehouse call:
//!
//! ```text
//! stored ──set_parent──> span of the work ──continue_trace──> what is stored or sent next
//!    └────────── no span, or one that is not sampled ─────────────────┘  (verbatim)
//! ```

use std::collections::HashMap;

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";
/// Version 00 is 55 characters; a later version may say more, but not without end.
const LONGEST: usize = 255;

/// Whether `traceparent` is one by the W3C's grammar (level 1, and later versions as it says).
///
/// Stricter than the propagator, which takes `00-1-1-1` and `+1` for ids: what is stored here goes
/// out again verbatim.
#[must_use]
pub fn is_valid(traceparent: &str) -> bool {
    let bytes = traceparent.as_bytes();
    let hex = |range: std::ops::Range<usize>| {
        bytes.get(range).is_some_and(|digits| digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f')))
    };
    let zero = |range: std::ops::Range<usize>| bytes[range].iter().all(|digit| *digit == b'0');

    hex(0..2)
        && hex(3..35)
        && hex(36..52)
        && hex(53..55)
        && [2, 35, 52].iter().all(|dash| bytes[*dash] == b'-')
        && &bytes[..2] != b"ff"
        && !zero(3..35)
        && !zero(36..52)
        && match &bytes[..2] {
            b"00" => bytes.len() == 55,
            _ => {
                bytes.len() <= LONGEST
                    && bytes[55..].iter().all(u8::is_ascii_graphic)
                    && bytes.get(55).is_none_or(|next| *next == b'-')
            }
        }
}

/// The remote span that a stored `traceparent` names, as a parent or a link; `None` when it is invalid.
#[must_use]
pub fn remote_parent(traceparent: &str) -> Option<Context> {
    if !is_valid(traceparent) {
        return None;
    }
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    context.has_active_span().then_some(context)
}

/// Makes `span`, not yet entered, a child of the stored `traceparent`.
///
/// Without one, with an invalid one, or when spans go nowhere, nothing happens.
pub fn set_parent(span: &Span, stored: Option<&str>) {
    if span.is_disabled() {
        return;
    }
    if let Some(parent) = stored.and_then(remote_parent) {
        // Fails only for a span that was entered before, whose parent is then already decided.
        let _ = span.set_parent(parent);
    }
}

/// Links `span` to the stored `traceparent`: for one span that works on a batch of many traces. One that nobody has recorded is
/// no place to go to, and is left out.
pub fn link(span: &Span, stored: Option<&str>) {
    if span.is_disabled() {
        return;
    }
    if let Some(context) = stored.and_then(remote_parent)
        && context.span().span_context().is_sampled()
    {
        span.add_link(context.span().span_context().clone());
    }
}

/// The `traceparent` of the span entered on this thread; `None` outside of spans, or when they go
/// nowhere.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    Context::map_current(traceparent_of)
}

/// The `traceparent` to store or send onward from the span entered on this thread.
///
/// That span's own when it is sampled, so that what follows becomes its child; otherwise the
/// `stored` one, verbatim, so that a trace is not cut by a worker that does not record it.
/// `None` when there is neither, or the stored one is invalid.
#[must_use]
pub fn continue_trace(stored: Option<&str>) -> Option<String> {
    let sampled = Context::map_current(|context| context.span().span_context().is_sampled());
    if sampled && let Some(own) = current_traceparent() {
        return Some(own);
    }
    stored.filter(|traceparent| is_valid(traceparent)).map(str::to_owned)
}

fn traceparent_of(context: &Context) -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(context, &mut carrier);
    carrier.remove(TRACEPARENT)
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TraceContextExt;
    use proptest::prelude::*;

    use super::super::capture;
    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    #[test]
    fn the_grammar_of_the_w3c_holds() {
        for good in
            [SAMPLED, UNSAMPLED, &SAMPLED.replace("00-4", "cc-4"), &format!("{}-more", SAMPLED.replace("00-4", "01-4"))]
        {
            assert!(is_valid(good), "{good}");
            assert!(remote_parent(good).is_some(), "{good}");
        }
        let other_version = SAMPLED.replace("00-4", "01-4");
        for bad in [
            "",
            "00-1-1-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "+0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            &SAMPLED.replace("00-4", "ff-4"),
            &format!("{SAMPLED}-more"),
            &format!("{SAMPLED} "),
            &format!("{other_version}more"),
            &format!("{other_version}-a\r\nb"),
            &format!("{other_version}-{}", "x".repeat(300)),
        ] {
            assert!(!is_valid(bad), "{bad}");
            assert!(remote_parent(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_string_is_ignored_or_flows_unchanged(text in prop_oneof![
            any::<String>(),
            "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
            "[0-9a-fA-F+-]{50,60}",
        ]) {
            let onward = continue_trace(Some(&text));
            prop_assert_eq!(onward.as_deref(), is_valid(&text).then_some(text.as_str()));
            prop_assert_eq!(remote_parent(&text).is_some(), is_valid(&text));
            set_parent(&Span::none(), Some(&text));
            link(&Span::none(), Some(&text));
        }
    }

    #[test]
    fn without_a_collector_the_traceparent_flows_unchanged() {
        let log = capture::logs(capture::settings());
        log.within(|| {
            let span = tracing::info_span!("work");
            assert!(span.is_disabled(), "a span costs although nothing looks at it");
            set_parent(&span, Some(SAMPLED));
            let _entered = span.enter();
            assert_eq!(current_traceparent(), None);
            assert_eq!(continue_trace(Some(SAMPLED)).as_deref(), Some(SAMPLED));
            assert_eq!(continue_trace(None), None);
        });
    }

    #[test]
    fn a_sampled_trace_goes_on_as_the_childs() {
        let traced = capture::traces(capture::settings());
        let onward = traced.within(|| {
            let span = tracing::info_span!("work");
            set_parent(&span, Some(SAMPLED));
            span.in_scope(|| continue_trace(Some(SAMPLED)).unwrap())
        });
        assert_ne!(onward, SAMPLED);
        let [span] = &traced.spans()[..] else { panic!("one span: {:?}", traced.spans()) };
        assert_eq!(span.span_context.trace_id().to_string(), SAMPLED[3..35]);
        assert_eq!(span.parent_span_id.to_string(), SAMPLED[36..52]);
        let context = remote_parent(&onward).unwrap();
        assert_eq!(context.span().span_context().span_id(), span.span_context.span_id());
    }

    #[test]
    fn a_trace_that_is_not_sampled_flows_unchanged() {
        let traced = capture::traces(capture::settings());
        traced.within(|| {
            let span = tracing::info_span!("work");
            set_parent(&span, Some(UNSAMPLED));
            span.in_scope(|| assert_eq!(continue_trace(Some(UNSAMPLED)).as_deref(), Some(UNSAMPLED)));
        });
        assert!(traced.spans().is_empty());
    }

    #[test]
    fn an_invalid_traceparent_begins_a_new_trace() {
        let traced = capture::traces(capture::settings());
        traced.within(|| {
            let span = tracing::info_span!("work");
            set_parent(&span, Some("00-garbage"));
            link(&span, Some("garbage"));
            link(&span, Some(SAMPLED));
            span.in_scope(|| assert!(is_valid(&continue_trace(Some("00-garbage")).unwrap())));
        });
        let [span] = &traced.spans()[..] else { panic!("one span") };
        assert!(!span.parent_span_is_remote);
        assert_eq!(span.links.links.len(), 1);
    }
}
