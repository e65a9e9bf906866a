//! W3C trace context: the `traceparent` and `tracestate` that travel with an event.
//!
//! They arrive with the payment, are stored in the inbox row, copied to the outbox row and sent with
//! the announcement and the warehouse call:
//!
//! ```text
//! received ──> stored ──set_parent──> span of the work ──continue_trace──> what is stored next ──> sent
//!                └────────── no span, or one that is not sampled ─────────────────┘  (verbatim)
//! ```
//!
//! Stored they are one text, in the column `traceparent`: the traceparent, and behind a space the tracestate where there is one. The
//! parts that only hand it on need not know.
//!
//! Baggage is not handed on: it may hold anything about anybody, would be kept as long as the event is, and would reach every
//! subscriber and the warehouse.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TraceState};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// What the W3C wants handed on at least, in characters; what is more is left out by whole members.
const LONGEST_STATE: usize = 512;
/// Whether trace context crosses the edge of this process: `OTEL_PROPAGATORS`.
static CROSSES: AtomicBool = AtomicBool::new(true);
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

/// From now on no trace context is taken from what comes, and none is sent.
pub(super) fn stop_at_the_edge() {
    CROSSES.store(false, Ordering::Relaxed);
}

/// What is stored of the trace context that came with a message or a call; nothing without a valid `traceparent`. A `tracestate` that
/// is none is left out.
#[must_use]
pub fn received(traceparent: Option<&str>, tracestate: Option<&str>) -> Option<String> {
    if CROSSES.load(Ordering::Relaxed) { joined(traceparent?, tracestate) } else { None }
}

/// Sets `traceparent` and `tracestate` of what is sent with the `stored` trace context.
pub fn send(stored: Option<&str>, mut set: impl FnMut(&'static str, &str)) {
    let Some((traceparent, tracestate)) = stored.filter(|_| CROSSES.load(Ordering::Relaxed)).and_then(parts) else {
        return;
    };
    set(TRACEPARENT, traceparent);
    if let Some(tracestate) = tracestate {
        set(TRACESTATE, tracestate);
    }
}

/// The `traceparent` and `tracestate` of what is stored; `None` when it is invalid.
#[must_use]
pub fn parts(stored: &str) -> Option<(&str, Option<&str>)> {
    let (traceparent, tracestate) =
        stored.split_once(' ').map_or((stored, None), |(parent, state)| (parent, Some(state)));
    let valid = is_valid(traceparent) && tracestate.is_none_or(|text| self::tracestate(text).as_deref() == Some(text));
    valid.then_some((traceparent, tracestate))
}

fn joined(traceparent: &str, tracestate: Option<&str>) -> Option<String> {
    let tracestate = tracestate.and_then(self::tracestate);
    is_valid(traceparent).then(|| match tracestate {
        Some(tracestate) => format!("{traceparent} {tracestate}"),
        None => traceparent.to_owned(),
    })
}

/// A list by the W3C's grammar as it is handed on: without empty members, each key once, and not too long. `None` when it is none,
/// or has no members.
fn tracestate(text: &str) -> Option<String> {
    let mut keys = Vec::new();
    let mut list = String::new();
    for member in text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty()) {
        let (key, value) = member.split_once('=')?;
        let printable = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if key.is_empty() || value.is_empty() || !printable || TraceState::from_key_value([(key, value)]).is_err() {
            return None;
        }
        if !keys.contains(&key) && list.len() + 1 + member.len() <= LONGEST_STATE && keys.len() < 32 {
            keys.push(key);
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(member);
        }
    }
    (!list.is_empty()).then_some(list)
}

/// The remote span that a stored `traceparent` names, as a parent or a link; `None` when it is invalid.
#[must_use]
pub fn remote_parent(stored: &str) -> Option<Context> {
    let (traceparent, tracestate) = parts(stored)?;
    let mut carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    carrier.extend(tracestate.map(|tracestate| (TRACESTATE.to_owned(), tracestate.to_owned())));
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

/// The trace context of the span entered on this thread, as it is stored; `None` outside of spans, or when they go
/// nowhere.
#[must_use]
pub fn current() -> Option<String> {
    Context::map_current(context_of)
}

/// The trace context to store or send onward, as it is stored, from the span entered on this thread.
///
/// That span's own when it is sampled, so that what follows becomes its child; otherwise the
/// `stored` one, verbatim, so that a trace is not cut by a worker that does not record it.
/// `None` when there is neither, or the stored one is invalid.
#[must_use]
pub fn continue_trace(stored: Option<&str>) -> Option<String> {
    let sampled = Context::map_current(|context| context.span().span_context().is_sampled());
    if sampled && let Some(own) = current() {
        return Some(own);
    }
    stored.filter(|stored| parts(stored).is_some()).map(str::to_owned)
}

fn context_of(context: &Context) -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(context, &mut carrier);
    joined(carrier.get(TRACEPARENT)?, carrier.get(TRACESTATE).map(String::as_str))
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

    #[test]
    fn a_tracestate_goes_with_its_traceparent_or_not_at_all() {
        let stored = |state: &str| received(Some(SAMPLED), Some(state)).unwrap();
        for (came, kept) in [
            ("rojo=00f067aa0ba902b7", "rojo=00f067aa0ba902b7"),
            ("rojo=1,congo=t61rcWkgMzE", "rojo=1,congo=t61rcWkgMzE"),
            (" rojo=1 ,\t, congo=a b", "rojo=1,congo=a b"),
            ("fw529a3039@dt=FfAAA,0tenant@sys=x", "fw529a3039@dt=FfAAA,0tenant@sys=x"),
            ("a=1,b=2,a=3", "a=1,b=2"),
        ] {
            assert_eq!(stored(came), format!("{SAMPLED} {kept}"), "{came}");
            assert_eq!(parts(&stored(came)), Some((SAMPLED, Some(kept))));
        }
        for bad in [
            "",
            ",",
            "rojo",
            "Rojo=1",
            "=1",
            "a=",
            "a=b=c",
            "a=1\r\nx: y",
            "a=\0",
            "a=\u{e9}",
            &format!("a={}", "x".repeat(257)),
        ] {
            assert_eq!(stored(bad), SAMPLED, "{bad:?}");
        }
        assert_eq!(received(None, Some("a=1")), None);
        assert_eq!(received(Some("00-garbage"), Some("a=1")), None);
        let many: Vec<String> = (0..40).map(|number| format!("k{number}={}", "v".repeat(30))).collect();
        let long = stored(&many.join(","));
        assert!(long.len() <= SAMPLED.len() + 1 + LONGEST_STATE && long.ends_with(&"v".repeat(30)), "{long}");
        assert_eq!(parts(&format!("{SAMPLED} garbage")), None);
    }

    #[test]
    fn what_is_sent_is_what_was_stored() {
        let sent = |stored: Option<&str>| {
            let mut sent = Vec::new();
            send(stored, |name, value| sent.push((name, value.to_owned())));
            sent
        };
        let (parent, state) = (("traceparent", SAMPLED.to_owned()), ("tracestate", "a=1,b=2".to_owned()));
        assert_eq!(sent(Some(SAMPLED)), std::slice::from_ref(&parent));
        assert_eq!(sent(Some(&format!("{SAMPLED} a=1,b=2"))), [parent, state]);
        assert!(sent(None).is_empty() && sent(Some("garbage")).is_empty());
    }

    proptest! {
        #[test]
        fn any_string_is_ignored_or_flows_unchanged(text in prop_oneof![
            any::<String>(),
            "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
            "[0-9a-fA-F+-]{50,60}",
            "00-[0-9a-f]{32}-[0-9a-f]{16}-01 [a-c]{1,2}=[a-c =,]{1,9}(,[a-c]=[a-c ]{1,3}){0,3}",
        ]) {
            let onward = continue_trace(Some(&text));
            prop_assert_eq!(onward.as_deref(), parts(&text).is_some().then_some(text.as_str()));
            prop_assert_eq!(remote_parent(&text).is_some(), parts(&text).is_some());
            let kept = received(Some(SAMPLED), Some(&text)).unwrap();
            prop_assert!(parts(&kept).is_some());
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
            assert_eq!(current(), None);
            assert_eq!(continue_trace(Some(SAMPLED)).as_deref(), Some(SAMPLED));
            assert_eq!(continue_trace(None), None);
        });
    }

    #[test]
    fn a_sampled_trace_goes_on_as_the_childs() {
        let traced = capture::traces(capture::settings());
        let onward = traced.within(|| {
            let span = tracing::info_span!("work");
            let stored = format!("{SAMPLED} rojo=1,congo=2");
            set_parent(&span, Some(&stored));
            span.in_scope(|| continue_trace(Some(&stored)).unwrap())
        });
        assert_ne!(&onward[..SAMPLED.len()], SAMPLED);
        assert!(onward.ends_with(" rojo=1,congo=2"), "{onward}");
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
