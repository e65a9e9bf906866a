//! The variables of OpenTelemetry's specification that the SDK leaves to the program, or does not say a word about when it cannot use
//! them. Empty is unset, and what cannot be used is ignored with a warning, as the specification wants it.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::losses::Signal;
use super::settings::OtlpProtocol;

/// Whole numbers that the SDK reads.
const NUMBERS: [&str; 9] = [
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_METRIC_EXPORT_TIMEOUT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
];
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// The settings of the environment.
#[derive(Clone, Debug)]
pub(super) struct Environment {
    traces: OfSignal,
    metrics: OfSignal,
    /// Whether trace context is taken from what comes, and sent on.
    pub(super) propagates: bool,
    /// `OTEL_RESOURCE_ATTRIBUTES`.
    pub(super) attributes: Vec<(String, String)>,
    /// The ignored variables with the reasons; without values of secrets.
    pub(super) ignored: Vec<String>,
}

/// What it says of one signal. None: nothing, and the settings hold.
#[derive(Clone, Debug, Default)]
pub(super) struct OfSignal {
    /// Whether it goes to a collector at all.
    pub(super) exported: bool,
    /// Where to, with the variable's name. Nothing is added to it.
    pub(super) endpoint: Option<(String, String)>,
    pub(super) protocol: Option<OtlpProtocol>,
    pub(super) ca_file: Option<String>,
    /// Of one export.
    pub(super) timeout: Option<Duration>,
}

impl Environment {
    /// That of this process.
    pub(super) fn of_process() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    pub(super) const fn of(&self, signal: Signal) -> &OfSignal {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
        }
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let mut ignored = Vec::new();
        let disabled = match get("OTEL_SDK_DISABLED").map(|text| text.to_ascii_lowercase()) {
            Some(text) if text == "true" => true,
            Some(text) if text != "false" => {
                ignored.push(format!("OTEL_SDK_DISABLED={text} is neither true nor false: the SDK is not disabled"));
                false
            }
            _ => false,
        };
        let [traces, metrics] = [Signal::Traces, Signal::Metrics].map(|signal| {
            let mut of = OfSignal::read(signal, &get, &mut ignored);
            of.exported &= !disabled;
            of
        });
        if let Some(text) = get("OTEL_LOGS_EXPORTER").filter(|text| !text.eq_ignore_ascii_case("none")) {
            ignored.push(format!("OTEL_LOGS_EXPORTER={text}: logs go to stdout"));
        }
        let propagates = propagates(get("OTEL_PROPAGATORS"), &mut ignored);
        for name in NUMBERS {
            if let Some(text) = get(name).filter(|text| text.parse::<u64>().is_err()) {
                ignored.push(format!("{name}={text} is no whole number: the default holds"));
            }
        }
        if let Some(text) = get("OTEL_TRACES_SAMPLER").filter(|text| !SAMPLERS.contains(&text.as_str())) {
            ignored.push(format!(
                "OTEL_TRACES_SAMPLER={text} is none of {}: parentbased_always_on holds",
                SAMPLERS.join(", ")
            ));
        }
        let is_ratio = |text: &String| text.parse::<f64>().is_ok_and(|ratio| (0.0..=1.0).contains(&ratio));
        if let Some(text) = get("OTEL_TRACES_SAMPLER_ARG").filter(|text| !is_ratio(text)) {
            ignored.push(format!("OTEL_TRACES_SAMPLER_ARG={text} is no number from 0 to 1: all traces are kept"));
        }
        let attributes = get("OTEL_RESOURCE_ATTRIBUTES").map_or_else(Vec::new, |text| {
            attributes(&text).unwrap_or_else(|| {
                let why = "OTEL_RESOURCE_ATTRIBUTES is no list of key=value with commas between, percent-encoded: none of it holds";
                ignored.push(why.to_owned());
                Vec::new()
            })
        });
        Self { traces, metrics, propagates, attributes, ignored }
    }
}

impl OfSignal {
    fn read(signal: Signal, get: &impl Fn(&str) -> Option<String>, ignored: &mut Vec<String>) -> Self {
        let upper = signal.as_str().to_ascii_uppercase();
        let own = |name: &str| format!("OTEL_EXPORTER_OTLP_{upper}_{name}");
        let exporter = format!("OTEL_{upper}_EXPORTER");
        // Metrics stand at /metrics for Prometheus in any case.
        let elsewhere = |name: &str| name == "none" || (name == "prometheus" && signal == Signal::Metrics);
        let exported = get(&exporter).is_none_or(|text| {
            let names: Vec<String> = text.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
            let unknown = names.iter().any(|name| name != "otlp" && !elsewhere(name));
            if unknown {
                ignored.push(format!("{exporter}={text}: there are otlp and none"));
            }
            names.iter().any(|name| name == "otlp") || (unknown && !names.iter().any(|name| elsewhere(name)))
        });
        let protocol = get(&own("PROTOCOL")).and_then(|text| match text.to_ascii_lowercase().as_str() {
            "grpc" => Some(OtlpProtocol::Grpc),
            "http/protobuf" => Some(OtlpProtocol::Http),
            _ => {
                ignored.push(format!("{}={text}: there are grpc and http/protobuf", own("PROTOCOL")));
                None
            }
        });
        let names = [own("TIMEOUT"), "OTEL_EXPORTER_OTLP_TIMEOUT".to_owned()];
        let timeouts = names.into_iter().filter_map(|name| {
            let text = get(&name)?;
            let milliseconds = text.parse().ok().filter(|milliseconds| *milliseconds > 0);
            if milliseconds.is_none() {
                ignored.push(format!("{name}={text} is no number of milliseconds from 1"));
            }
            milliseconds.map(Duration::from_millis)
        });
        let timeout = timeouts.collect::<Vec<_>>().first().copied();
        for name in [own("COMPRESSION"), "OTEL_EXPORTER_OTLP_COMPRESSION".to_owned()] {
            let unknown = |text: &String| !["gzip", "none"].contains(&text.to_ascii_lowercase().as_str());
            if let Some(text) = get(&name).filter(unknown) {
                ignored.push(format!("{name}={text}: there are gzip and none"));
            }
        }
        for name in ["CLIENT_CERTIFICATE", "CLIENT_KEY"] {
            for name in [own(name), format!("OTEL_EXPORTER_OTLP_{name}")] {
                if get(&name).is_some() {
                    ignored.push(format!("{name}: the worker shows a collector no certificate"));
                }
            }
        }
        let endpoint = get(&own("ENDPOINT")).map(|endpoint| (own("ENDPOINT"), endpoint));
        ignored.dedup();
        Self { exported, endpoint, protocol, ca_file: get(&own("CERTIFICATE")), timeout }
    }
}

/// `OTEL_PROPAGATORS`: the trace context goes on unless the list leaves it out.
fn propagates(list: Option<String>, ignored: &mut Vec<String>) -> bool {
    let Some(list) = list else { return true };
    let names: Vec<String> = list.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
    let unknown = names.iter().filter(|name| !["tracecontext", "baggage", "none"].contains(&name.as_str()));
    let unknown: Vec<&str> = unknown.map(String::as_str).collect();
    if !unknown.is_empty() {
        ignored.push(format!("OTEL_PROPAGATORS: {}: there are tracecontext and none", unknown.join(", ")));
    }
    if names.iter().any(|name| name == "baggage") {
        ignored.push("OTEL_PROPAGATORS: baggage is not handed on, since it would be stored with each event".to_owned());
    }
    let known = names.iter().any(|name| name == "none" || name == "baggage");
    names.iter().any(|name| name == "tracecontext") || !known
}

/// `key=value` with commas between, percent-encoded; none where one is not.
fn attributes(list: &str) -> Option<Vec<(String, String)>> {
    let decoded = |text: &str| {
        // A % that stands for nothing is a mistake.
        let broken = text.match_indices('%').any(|(at, _)| {
            !text.get(at + 1..at + 3).is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        });
        let text = percent_decode_str(text.trim()).decode_utf8().ok()?;
        (!broken && !text.is_empty()).then(|| text.into_owned())
    };
    let members = list.split(',').filter(|member| !member.trim().is_empty());
    members
        .map(|member| {
            let (key, value) = member.split_once('=')?;
            Some((decoded(key)?, if value.trim().is_empty() { String::new() } else { decoded(value)? }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Environment {
        Environment::read(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_said_and_nothing_in_it_are_the_same() {
        let names = NUMBERS.iter().copied().chain([
            "OTEL_SDK_DISABLED",
            "OTEL_TRACES_EXPORTER",
            "OTEL_PROPAGATORS",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "OTEL_TRACES_SAMPLER",
            "OTEL_RESOURCE_ATTRIBUTES",
        ]);
        let empty: Vec<_> = names.map(|name| (name, " ")).collect();
        for said in [read(&[]), read(&empty)] {
            assert!(said.ignored.is_empty(), "{:?}", said.ignored);
            assert!(said.propagates && said.traces.exported && said.metrics.exported && said.attributes.is_empty());
            assert!(said.traces.endpoint.is_none() && said.traces.protocol.is_none() && said.traces.timeout.is_none());
        }
    }

    #[test]
    fn who_is_sent_what() {
        for (variables, traces, metrics, warnings) in [
            (&[("OTEL_SDK_DISABLED", "TRUE")][..], false, false, 0),
            (&[("OTEL_SDK_DISABLED", "1")], true, true, 1),
            (&[("OTEL_SDK_DISABLED", "false")], true, true, 0),
            (&[("OTEL_TRACES_EXPORTER", "none")], false, true, 0),
            (&[("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_METRICS_EXPORTER", "none")], true, false, 0),
            (&[("OTEL_METRICS_EXPORTER", "prometheus")], true, false, 0),
            (&[("OTEL_METRICS_EXPORTER", "otlp,prometheus")], true, true, 0),
            (&[("OTEL_TRACES_EXPORTER", "zipkin")], true, true, 1),
            (&[("OTEL_TRACES_EXPORTER", "console,otlp")], true, true, 1),
        ] {
            let said = read(variables);
            assert_eq!((said.traces.exported, said.metrics.exported), (traces, metrics), "{variables:?}");
            assert_eq!(said.ignored.len(), warnings, "{variables:?}: {:?}", said.ignored);
        }
    }

    #[test]
    fn a_signals_own_variable_comes_before_that_of_both() {
        let said = read(&[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/here"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "HTTP/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "/ca.crt"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "750"),
        ]);
        assert_eq!(said.traces.endpoint.as_ref().unwrap().1, "http://traces:4318/here");
        assert_eq!(said.traces.protocol, Some(OtlpProtocol::Http));
        let timeouts = [Signal::Traces, Signal::Metrics].map(|signal| said.of(signal).timeout.unwrap().as_millis());
        assert_eq!(timeouts, [250, 750]);
        assert_eq!((said.traces.ca_file, said.metrics.ca_file.as_deref()), (None, Some("/ca.crt")));
        assert!(said.metrics.endpoint.is_none() && said.ignored.is_empty());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (name, value) in NUMBERS.map(|name| (name, "soon")).into_iter().chain([
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "5s"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/key"),
            ("OTEL_TRACES_SAMPLER", "xray"),
            ("OTEL_TRACES_SAMPLER_ARG", "1%"),
            ("OTEL_LOGS_EXPORTER", "otlp"),
            ("OTEL_PROPAGATORS", "tracecontext,b3"),
            ("OTEL_PROPAGATORS", "tracecontext,baggage"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=1,b"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=1%zz"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=1%"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=%ff"),
        ]) {
            let said = read(&[(name, value)]);
            assert_eq!(said.ignored.len(), 1, "{name}={value}: {:?}", said.ignored);
            assert!(said.ignored[0].starts_with(name), "{:?}", said.ignored);
            assert!(said.propagates && said.attributes.is_empty() && said.traces.timeout.is_none());
        }
        // One that holds for both signals is told of once for each of them at the most.
        assert!(read(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "x")]).ignored.len() <= 2);
    }

    #[test]
    fn trace_context_goes_on_unless_the_list_leaves_it_out() {
        for (list, goes_on) in
            [("tracecontext", true), ("baggage,tracecontext", true), ("none", false), ("baggage", false), ("b3", true)]
        {
            assert_eq!(read(&[("OTEL_PROPAGATORS", list)]).propagates, goes_on, "{list}");
        }
    }

    #[test]
    fn attributes_are_percent_encoded() {
        let said =
            read(&[("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb%3D%20c, deployment.environment.name=t%C3%A9st,empty=,")]);
        let pairs: Vec<_> = said.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("team", "a,b= c"), ("deployment.environment.name", "tést"), ("empty", "")]);
    }
}
