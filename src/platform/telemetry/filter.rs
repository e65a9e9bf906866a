//! `log_level`: which events are logged.

use strsim::jaro_winkler;
use tracing_subscriber::EnvFilter;

use crate::platform::settings::rule::Malformed;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What is silent unless `log_level` speaks of it, since it is said once elsewhere. OpenTelemetry's own log lines, one a failed export,
/// for as long as a collector does not answer: the exporters say it (`otlp::watched`). sqlx's pool, one a try, for as long as a database
/// is read-only: the health probe says it.
const SILENT: [(&str, &str); 3] = [
    ("opentelemetry", "opentelemetry_sdk=off"),
    ("opentelemetry", "opentelemetry-otlp=off"),
    ("sqlx", "sqlx_core::pool::inner=off"),
];

/// Reads `log_level`, refusing what would silently log nothing.
///
/// `EnvFilter` alone takes `inof` for the name of a target, and so logs nothing at all.
pub(super) fn parse(log_level: &str) -> Result<EnvFilter, Malformed> {
    let mut directives = Vec::new();
    for directive in log_level.split(',').map(str::trim) {
        check(directive)?;
        directives.push(directive);
    }
    directives.extend(SILENT.iter().filter(|(about, _)| !log_level.contains(about)).map(|(_, directive)| *directive));
    // EnvFilter takes no spaces.
    EnvFilter::builder().parse(directives.join(",")).map_err(|error| Malformed(error.to_string()))
}

fn check(directive: &str) -> Result<(), Malformed> {
    if directive.contains(['[', '{']) {
        let reason = format!("{directive:?} filters by span, and log lines carry no spans");
        return Err(Malformed(reason));
    }
    let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
    if LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
        return Ok(());
    }
    let nearest = nearest(level);
    Err(Malformed(format!("{level:?} is no level{nearest}")))
}

fn nearest(level: &str) -> String {
    let level = level.to_ascii_lowercase();
    LEVELS
        .iter()
        .map(|known| (jaro_winkler(known, &level), known))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map_or_else(String::new, |(_, known)| format!(", did you mean {known:?}?"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn levels_and_targets_are_read() {
        for good in [
            "info",
            "OFF",
            "info,order_worker::engine::inbox=debug",
            "warn, order_worker=Trace",
            "error,opentelemetry_sdk=debug",
        ] {
            parse(good).unwrap();
        }
    }

    #[test]
    fn what_would_log_nothing_is_refused_with_the_way_out() {
        for (bad, reason) in [
            ("", "\"\" is no level"),
            ("inof", "did you mean \"info\"?"),
            ("3", "\"3\" is no level"),
            ("info,sqlx", "\"sqlx\" is no level"),
            ("info,order_worker=loud", "\"loud\" is no level"),
            ("info,", "\"\" is no level"),
            ("order_worker=", "\"\" is no level"),
            ("a=b=c", "\"c\" is no level"),
            ("a=b=info", "error parsing level filter"),
            ("order_worker[span]=debug", "filters by span"),
        ] {
            let message = parse(bad).unwrap_err().to_string();
            assert!(message.contains(reason), "{bad}: {message}");
        }
    }
}
