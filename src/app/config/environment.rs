//! The environment layer: which variables there are, and which belong to others.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::IpAddr;

use serde_json::Value;

use super::error::ConfigError;
use super::file::Found;
use super::origin::Origin;
use super::schema;
use crate::platform::settings::Rule;
use crate::platform::settings::rule::Refusal;

/// Begins the name of every variable that is this program's own.
const PREFIX: &str = "ORDER_";

/// The names that Kubernetes manifests, Dapr and OpenTelemetry give to some keys, the weaker before the stronger.
const GIVEN_NAMES: [(&str, &str); 13] = [
    ("DATABASE_URL", "data.database.source"),
    ("REDIS_ADDR", "data.redis.addr"),
    ("CONSUL_ADDR", "worker.consul.addr"),
    ("CONSUL_HTTP_TOKEN", "worker.consul.token"),
    ("POD_IP", "worker.consul.advertise"),
    (DAPR_GRPC_PORT, "worker.dapr.grpc_endpoint"),
    ("DAPR_GRPC_ENDPOINT", "worker.dapr.grpc_endpoint"),
    ("DAPR_API_TOKEN", "worker.dapr.api_token"),
    ("APP_API_TOKEN", "worker.eventbus.app_token"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "worker.telemetry.otlp_endpoint"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "worker.telemetry.otlp_protocol"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "worker.telemetry.otlp_ca_file"),
    ("OTEL_SERVICE_NAME", "worker.telemetry.service_name"),
];

/// Names the person who gives a command (`--as`): no key, and so in no file.
pub const OPERATOR: &str = "ORDER_WORKER_OPERATOR";

/// Holds only the port of an endpoint whose host is this one.
const DAPR_GRPC_PORT: &str = "DAPR_GRPC_PORT";

/// The variable that overrides the key at `path` (with dots).
#[must_use]
pub fn variable(path: &str) -> String {
    let parts: Vec<_> = path.split('.').map(|part| part.replace('_', "").to_uppercase()).collect();
    format!("{PREFIX}{}", parts.join("_"))
}

/// Ends the name of the variable that holds the path of a file, in which the secret stands that the variable without it would hold.
const FILE: &str = "_FILE";
/// More is no secret, but the wrong file.
const LARGEST: u64 = 64 << 10;

/// The secret in the file that `name` and `FILE` together name; `None` when there is no such variable, or it is empty. Line breaks
/// at the end are not part of it.
///
/// # Errors
/// When the file cannot be read, or `name` itself is set as well.
pub fn from_file(environment: &BTreeMap<String, String>, name: &str) -> Result<Option<String>, ConfigError> {
    let variable = format!("{name}{FILE}");
    let Some(path) = environment.get(&variable).filter(|path| !path.is_empty()) else { return Ok(None) };
    let refuse = |reason: String| ConfigError::SecretFile { variable: variable.clone(), reason };
    if environment.get(name).is_some_and(|text| !text.is_empty()) {
        return Err(refuse(format!("{name} is set as well")));
    }
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
    read.map_err(|error| refuse(format!("{path}: {error}")))?;
    if text.len() as u64 > LARGEST {
        return Err(refuse(format!("{path} is larger than {LARGEST} bytes")));
    }
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Reads and checks the environment: the values it gives, the weaker before the stronger.
pub(super) fn read(environment: &BTreeMap<String, String>) -> Result<Vec<Found>, ConfigError> {
    let rules: BTreeMap<String, Rule> = schema::values().into_iter().collect();
    let mut found = given_names(environment, &rules)?;
    let keys: BTreeMap<String, &String> = rules.keys().map(|path| (variable(path), path)).collect();
    for (name, text) in environment.range(PREFIX.to_owned()..) {
        if !name.starts_with(PREFIX) {
            break;
        }
        let of_file = name.strip_suffix(FILE).and_then(|name| Some((name, keys.get(name)?)));
        match keys.get(name) {
            Some(path) => found.push(value(name, path, text, &rules)?),
            None if let Some((name, path)) = of_file.filter(|(_, path)| rules[path.as_str()].is_secret()) => {
                if let Some(text) = from_file(environment, name)? {
                    found.push(value(&format!("{name}{FILE}"), path, &text, &rules)?);
                }
            }
            None if name == OPERATOR || is_service_variable(name, text) => {}
            None => return Err(unknown(name, keys.keys())),
        }
    }
    Ok(found)
}

fn given_names(
    environment: &BTreeMap<String, String>,
    rules: &BTreeMap<String, Rule>,
) -> Result<Vec<Found>, ConfigError> {
    let mut found = Vec::new();
    for (name, path) in GIVEN_NAMES {
        if rules.get(path).is_some_and(Rule::is_secret)
            && let Some(text) = from_file(environment, name)?
        {
            found.push(value(&format!("{name}{FILE}"), path, &text, rules)?);
            continue;
        }
        // Manifests often set a name to nothing where they mean to leave it out.
        let Some(text) = environment.get(name).filter(|text| !text.is_empty()) else {
            continue;
        };
        if name == DAPR_GRPC_PORT {
            let port = Rule::integer(1, 65_535);
            let origin = Origin::Environment(name.to_owned());
            let port = port.read_text(text).map_err(|refusal| ConfigError::value(path, &origin, refusal, &port))?;
            found.push((path.to_owned(), Value::from(format!("http://127.0.0.1:{port}")), origin));
        } else {
            found.push(value(name, path, text, rules)?);
        }
    }
    Ok(found)
}

fn value(name: &str, path: &str, text: &str, rules: &BTreeMap<String, Rule>) -> Result<Found, ConfigError> {
    let origin = Origin::Environment(name.to_owned());
    let Some(rule) = rules.get(path) else {
        let refusal = Refusal { given: name.to_owned(), reason: Some("no such key".to_owned()) };
        return Err(ConfigError::value(path, &origin, refusal, &Rule::Choice(&[])));
    };
    let value = rule.read_text(text).map_err(|refusal| ConfigError::value(path, &origin, refusal, rule))?;
    Ok((path.to_owned(), value, origin))
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> ConfigError {
    let section = schema::sections().into_iter().find(|path| variable(path) == name);
    ConfigError::UnknownVariable { name: name.to_owned(), nearest: schema::most_alike(name, known.cloned()), section }
}

/// Whether Kubernetes set this variable for a Service named `order` or `order-…`: it gives every
/// container the address of every Service of the namespace, in its own form and in that of Docker's
/// links (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>).
/// The value is looked at too, so that `ORDER_WORKER_EVENTBUS_PORT=5005` is still a mistake.
fn is_service_variable(name: &str, value: &str) -> bool {
    let is_address = || value.parse::<IpAddr>().is_ok();
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    let is_protocol = |text: &str| matches!(text, "tcp" | "udp" | "sctp");
    let is_link = || {
        value.split_once("://").is_some_and(|(protocol, address)| {
            is_protocol(protocol) && address.rsplit_once(':').is_some_and(|(_, port)| is_port(port))
        })
    };
    if name.ends_with("_SERVICE_HOST") {
        return is_address();
    }
    // ORDER_SERVICE_PORT is the port of `order`, or the link of `order-service`.
    if name.ends_with("_PORT") && is_link() {
        return true;
    }
    if (name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_")) && is_port(value) {
        return true;
    }
    // ORDER_PORT_8000_TCP, and the same with _PROTO, _PORT or _ADDR.
    let Some((_, link)) = name.rsplit_once("_PORT_").filter(|_| !name.ends_with("_PORT_")) else {
        return false;
    };
    let parts: Vec<&str> = link.split('_').collect();
    match parts.as_slice() {
        [port, protocol, rest @ ..] if is_port(port) && is_protocol(&protocol.to_lowercase()) => match rest {
            [] => is_link(),
            ["PROTO"] => is_protocol(value),
            ["PORT"] => is_port(value),
            ["ADDR"] => is_address(),
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn layer(variables: &[(&str, &str)]) -> Result<Vec<Found>, ConfigError> {
        read(&variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    fn refusal(variables: &[(&str, &str)]) -> ConfigError {
        layer(variables).unwrap_err()
    }

    #[test]
    fn names_of_variables_are_unique_and_are_the_users() {
        let paths: Vec<_> = schema::values().into_iter().map(|(path, _)| path).collect();
        let mut names: BTreeSet<_> = paths.iter().map(|path| variable(path)).collect();
        assert_eq!(names.len(), paths.len());
        for name in [
            "ORDER_EXTERNALSERVICES_WAREHOUSESERVICE_GRPCENDPOINT",
            "ORDER_WORKER_EVENTBUS_ADDR",
            "ORDER_WORKER_ADMIN_ADDR",
        ] {
            assert!(names.contains(name), "{name}");
        }
        assert!(GIVEN_NAMES.iter().all(|(name, _)| names.insert((*name).to_owned())));
        assert!(GIVEN_NAMES.iter().all(|(_, path)| paths.iter().any(|known| known == path)));
    }

    #[test]
    fn no_variable_of_a_key_has_the_shape_of_a_services() {
        for (path, _) in schema::values() {
            for value in ["10.0.0.1", "80", "tcp://10.0.0.1:80", "tcp"] {
                assert!(!is_service_variable(&variable(&path), value), "{path}");
            }
        }
    }

    #[test]
    fn the_variables_of_kubernetes_services_are_left_alone() {
        let services = [
            // Service order, one unnamed port; then order-service; then order-worker.
            ("ORDER_SERVICE_HOST", "10.0.0.1"),
            ("ORDER_SERVICE_PORT", "8000"),
            ("ORDER_SERVICE_PORT_HTTP", "8000"),
            ("ORDER_SERVICE_PORT_GRPC_WEB", "8000"),
            ("ORDER_SERVICE_PORT_TCP_WEB", "8000"),
            ("ORDER_PORT_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
            ("ORDER_PORT", "tcp://10.0.0.1:8000"),
            ("ORDER_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
            ("ORDER_PORT_8000_TCP_PROTO", "tcp"),
            ("ORDER_PORT_8000_TCP_PORT", "8000"),
            ("ORDER_PORT_8000_TCP_ADDR", "10.0.0.1"),
            ("ORDER_SERVICE_SERVICE_HOST", "fd00::1"),
            ("ORDER_SERVICE_SERVICE_PORT", "8000"),
            ("ORDER_SERVICE_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
            ("ORDER_SERVICE_PORT_8000_TCP_PORT", "8000"),
            ("ORDER_WORKER_SERVICE_HOST", "10.0.0.2"),
            ("ORDER_WORKER_PORT", "udp://[fd00::1]:8081"),
            ("ORDER_WORKER_PORT_8081_TCP_ADDR", "10.0.0.2"),
            ("ORDER_WORKER_ADMIN_SERVICE_PORT_METRICS", "8081"),
            ("ORDER_HISTORY_V2_PORT_53_UDP_PROTO", "udp"),
        ];
        for service in services {
            assert!(layer(&[service]).is_ok_and(|found| found.is_empty()), "{service:?}");
        }
    }

    #[test]
    fn an_order_variable_of_no_key_is_refused() {
        let cases = [
            ("ORDER_WORKER_EVENTBUS_PORT", "5005", "ORDER_WORKER_EVENTBUS_ADDR"),
            ("ORDER_WORKER_EVENT_BUS_ADDR", ":5", "ORDER_WORKER_EVENTBUS_ADDR"),
            ("ORDER_WORKER_QUEUE_POLL_INTERVAL", "1s", "ORDER_WORKER_QUEUE_POLLINTERVAL"),
            ("ORDER_WORKER_PORT", "8081", "ORDER_WORKER_"),
            ("ORDER_PORT_8000_TCP_ADDR", "not an address", ""),
        ];
        for (name, value, nearest) in cases {
            let refusal = refusal(&[(name, value)]);
            assert!(refusal.to_string().contains(name), "{refusal}");
            assert!(refusal.hint().contains(nearest), "{}", refusal.hint());
        }
        let section = refusal(&[("ORDER_WORKER_QUEUE", "x")]);
        assert!(section.to_string().contains("section"), "{section}");
    }

    #[test]
    fn the_order_name_wins_and_the_endpoint_wins_over_the_port() {
        let found = layer(&[
            ("ORDER_WORKER_DAPR_GRPCENDPOINT", "http://a:1"),
            ("DAPR_GRPC_ENDPOINT", "b:2"),
            ("DAPR_GRPC_PORT", "3500"),
        ])
        .unwrap();
        let values: Vec<_> = found.iter().map(|(_, value, _)| value.as_str().unwrap()).collect();
        assert_eq!(values, ["http://127.0.0.1:3500", "b:2", "http://a:1"]);
    }

    #[test]
    fn a_given_name_set_to_nothing_counts_as_not_set() {
        let nothing = GIVEN_NAMES.map(|(name, _)| (name, ""));
        assert!(layer(&nothing).unwrap().is_empty());
    }

    #[test]
    fn a_bad_value_names_its_variable_and_key() {
        for (name, value) in [
            ("DAPR_GRPC_PORT", "70000"),
            ("DAPR_GRPC_PORT", "abc"),
            ("DAPR_GRPC_ENDPOINT", "dns://x"),
            ("REDIS_ADDR", "redis"),
            ("ORDER_WORKER_QUEUE_LEASE", "10"),
            ("ORDER_WORKER_QUEUE_LEASE", ""),
        ] {
            let refusal = refusal(&[(name, value)]).to_string();
            assert!(refusal.contains(name) && refusal.contains("allowed: "), "{refusal}");
        }
    }
}
