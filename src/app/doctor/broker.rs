//! Redis: whether it keeps what it was given, and knows the worker.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;

use super::Findings;
use crate::app::config::Config;
use crate::app::runs::reconciled;
use crate::dapr::broker;
use crate::platform::tls;

const LIMIT: Duration = Duration::from_secs(3);
/// The most SCANs, of a thousand keys each, that look for a stream under another name.
const SCANS: usize = 100;

pub(super) async fn examine(config: &Config, findings: &mut Findings) {
    let Some(addr) = &config.data.redis.addr else {
        return findings.warning(
            "Redis",
            "data.redis.addr is empty: it is not watched, and its streams are not looked at",
            "name it, as the component has it",
        );
    };
    let connect = async {
        let client = broker::client(&config.data.redis).map_err(|error| error.to_string())?;
        let Some(client) = client else { return Err("no address".to_owned()) };
        client.get_multiplexed_async_connection().await.map_err(|error| error.to_string())
    };
    let connected =
        tokio::time::timeout(LIMIT, connect).await.unwrap_or_else(|_| Err(format!("no answer in {LIMIT:?}")));
    let mut connection = match connected {
        Ok(connection) => connection,
        Err(error) => {
            let next = tls::hint(&error, "data.redis.ca_file").unwrap_or_else(|| {
                "see data.redis.addr, its TLS, user and password; the messages themselves go through Dapr's component"
                    .to_owned()
            });
            return findings.broken("Redis", format!("{addr}: {error}"), next);
        }
    };
    findings.ok("Redis", addr.to_string());
    keeps(&mut connection, findings).await;
    if !config.worker.reconcile.enabled {
        return;
    }
    let setup = reconciled(config);
    for (topic, name) in setup.streams() {
        let about = setup.topics.called(&topic);
        subscribed(&mut connection, &about, &name, &config.worker.reconcile.group, findings).await;
    }
}

/// Whether what is published survives a crash, and is never evicted.
async fn keeps(connection: &mut MultiplexedConnection, findings: &mut Findings) {
    let mut settings = HashMap::new();
    for pattern in ["appendonly", "appendfsync", "maxmemory-policy", "maxmemory"] {
        let asked: Result<HashMap<String, String>, _> =
            redis::cmd("CONFIG").arg("GET").arg(pattern).query_async(connection).await;
        match asked {
            Ok(answer) => settings.extend(answer),
            Err(error) => {
                let next =
                    "ask its provider: appendonly yes, appendfsync always or everysec, maxmemory-policy noeviction";
                return findings.warning("Redis keeps what it has", format!("CONFIG GET is refused: {error}"), next);
            }
        }
    }
    let of = |name: &str| settings.get(name).map(String::as_str).unwrap_or_default();
    let seen = format!(
        "appendonly {}, appendfsync {}, maxmemory-policy {}",
        of("appendonly"),
        of("appendfsync"),
        of("maxmemory-policy")
    );
    if of("appendonly") != "yes" {
        findings.broken(
            "Redis keeps what it has",
            seen,
            "appendonly yes: a crash loses what was published since the last snapshot",
        );
    } else if of("maxmemory-policy") != "noeviction" && of("maxmemory") != "0" {
        findings.broken(
            "Redis keeps what it has",
            seen,
            "maxmemory-policy noeviction: whole streams are evicted when memory is full",
        );
    } else if of("appendfsync") == "no" {
        findings.warning("Redis keeps what it has", seen, "appendfsync everysec, or always");
    } else {
        findings.ok("Redis keeps what it has", seen);
    }
}

/// Whether the worker's group reads the stream: it is the component's Redis then.
async fn subscribed(
    connection: &mut MultiplexedConnection,
    about: &str,
    name: &str,
    group: &str,
    findings: &mut Findings,
) {
    let groups: Result<Vec<HashMap<String, redis::Value>>, _> =
        redis::cmd("XINFO").arg("GROUPS").arg(name).query_async(connection).await;
    let next = "see that this is the component's Redis (dapr/components), that the sidecar has subscribed (GET :3500/v1.0/metadata), and that worker.reconcile.group and stream_prefix are the component's";
    match groups {
        Err(error) if error.code() == Some("MOVED") => {
            findings.broken(
                about,
                format!("Redis is a cluster, which cannot be looked at: {error}"),
                "worker.reconcile.enabled: false lets the jobs act by the clock all the same",
            );
        }
        Err(error) => {
            let others = others(connection, name).await;
            findings.warning(about, format!("there is no {name} to be looked at: {error}{others}"), next);
        }
        Ok(groups) => {
            let text = |value: &redis::Value| redis::from_redis_value_ref::<String>(value).unwrap_or_default();
            let known: Vec<String> = groups.iter().filter_map(|group| group.get("name").map(text)).collect();
            if known.iter().any(|name| name == group) {
                findings.ok(about, format!("the group {group} reads {name}"));
            } else {
                let others = others(connection, name).await;
                findings.broken(
                    about,
                    format!("{name} has no group {group}, only: {}{others}", known.join(", ")),
                    next,
                );
            }
        }
    }
}

/// Streams whose names end as this one's: what stands before is what a component with {namespace} puts there.
async fn others(connection: &mut MultiplexedConnection, name: &str) -> String {
    let (mut cursor, mut found) = (0_u64, Vec::new());
    for _ in 0..SCANS {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("*?{name}")).arg("COUNT").arg(1_000).arg("TYPE").arg("stream");
        let Ok((next, names)) = scan.query_async::<(u64, Vec<String>)>(connection).await else { break };
        found.extend(names);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    if found.is_empty() { String::new() } else { format!("; there are streams {}", found.join(", ")) }
}
