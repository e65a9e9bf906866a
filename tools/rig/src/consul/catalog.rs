//! Services, their checks, and the index that grows with each change.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Consul removes no service sooner, whatever it was told.
const LEAST_CRITICAL: Duration = Duration::from_secs(60);

/// What the agent knows.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    index: u64,
    /// The index of the last change of a service by name.
    changed: BTreeMap<String, u64>,
    services: BTreeMap<String, Service>,
}

#[derive(Debug)]
struct Service {
    name: String,
    told: Value,
    checks: Vec<Check>,
}

#[derive(Debug)]
struct Check {
    id: String,
    kind: Kind,
    status: String,
    output: String,
    next: Instant,
    critical_since: Option<Instant>,
    removes_after: Option<Duration>,
}

#[derive(Debug)]
enum Kind {
    Ttl(Duration),
    Tcp { addr: String, interval: Duration },
}

impl Catalog {
    /// `PUT /v1/agent/service/register`: replaces what was known under the id.
    pub(super) fn register(&mut self, told: &Value) -> Result<(), String> {
        let name = told["Name"].as_str().filter(|name| !name.is_empty()).ok_or("Missing service name")?.to_owned();
        let id = told["ID"].as_str().filter(|id| !id.is_empty()).unwrap_or(&name).to_owned();
        let lists = [told["Checks"].as_array().cloned().unwrap_or_default(), vec![told["Check"].clone()]].concat();
        let all: Vec<_> = lists.into_iter().filter(|check| !check.is_null()).collect();
        let one = all.len() == 1;
        let checks = all.iter().enumerate();
        let checks = checks.map(|(n, check)| Check::read(check, &id, (!one).then_some(n + 1)));
        let checks = checks.collect::<Result<_, _>>()?;
        self.services.insert(id, Service { name: name.clone(), told: told.clone(), checks });
        self.touch(&name);
        Ok(())
    }

    /// Whether the id was known.
    pub(super) fn deregister(&mut self, id: &str) -> bool {
        let removed = self.services.remove(id);
        if let Some(service) = &removed {
            self.touch(&service.name);
        }
        removed.is_some()
    }

    /// Sets the status of a TTL check; whether there is one of this id.
    pub(super) fn update(&mut self, id: &str, status: &str, output: &str) -> bool {
        let found = self.services.values_mut().find_map(|service| {
            let check = service.checks.iter_mut().find(|check| check.id == id)?;
            let Kind::Ttl(ttl) = check.kind else { return None };
            check.next = Instant::now() + ttl;
            Some((service.name.clone(), check.set(status, output)))
        });
        if let Some((name, true)) = &found {
            self.touch(name);
        }
        found.is_some()
    }

    /// The index of a query by name.
    pub(super) fn index_of(&self, service: &str) -> u64 {
        self.changed.get(service).copied().unwrap_or(1)
    }

    /// The answer of `/v1/health/service/<name>`.
    pub(super) fn entries(&self, name: &str, passing: bool) -> Vec<Value> {
        let of_name = self.services.iter().filter(|(_, service)| service.name == name);
        let wanted = of_name.filter(|(_, service)| !passing || service.passes());
        wanted.map(|(id, service)| service.entry(id)).collect()
    }

    /// The answer of `/v1/agent/services`.
    pub(super) fn agent_services(&self) -> Value {
        self.services
            .iter()
            .map(|(id, service)| (id.clone(), service.described(id)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    pub(super) fn registered(&self, name: &str) -> Vec<Value> {
        self.services.values().filter(|service| service.name == name).map(|service| service.told.clone()).collect()
    }

    pub(super) fn checks(&self, name: &str) -> Vec<(String, String)> {
        let checks = self.services.values().filter(|service| service.name == name).flat_map(|service| &service.checks);
        checks.map(|check| (check.id.clone(), check.status.clone())).collect()
    }

    /// The TCP checks whose time has come: id and address.
    pub(super) fn due(&mut self) -> Vec<(String, String)> {
        let now = Instant::now();
        let checks = self.services.values_mut().flat_map(|service| &mut service.checks);
        checks
            .filter_map(|check| match &check.kind {
                Kind::Tcp { addr, interval } if check.next <= now => {
                    check.next = now + *interval;
                    Some((check.id.clone(), addr.clone()))
                }
                _ => None,
            })
            .collect()
    }

    /// Takes what was dialled, expires what is late, removes what was critical too long; whether anything changed.
    pub(super) fn settle(&mut self, dialled: &[(String, Result<(), String>)]) -> bool {
        let now = Instant::now();
        let mut touched = Vec::new();
        for service in self.services.values_mut() {
            for check in &mut service.checks {
                let late = matches!(check.kind, Kind::Ttl(_)) && check.next <= now;
                let result = dialled.iter().find(|(id, _)| *id == check.id).map(|(_, result)| result);
                let changed = match result {
                    Some(Ok(())) => check.set("passing", "TCP connect: Success"),
                    Some(Err(error)) => check.set("critical", error),
                    None if late => check.set("critical", "TTL expired"),
                    None => false,
                };
                if changed {
                    touched.push(service.name.clone());
                }
            }
        }
        let over = |check: &Check| {
            let limit = check.removes_after.map(|limit| limit.max(LEAST_CRITICAL));
            check.critical_since.zip(limit).is_some_and(|(since, limit)| since.elapsed() >= limit)
        };
        let gone: Vec<_> = self.services.iter().filter(|(_, service)| service.checks.iter().any(over)).collect();
        let gone: Vec<_> = gone.into_iter().map(|(id, _)| id.clone()).collect();
        for id in &gone {
            self.deregister(id);
        }
        touched.iter().for_each(|name| self.touch(name));
        !(touched.is_empty() && gone.is_empty())
    }

    fn touch(&mut self, name: &str) {
        // A real agent's index begins somewhere above 1.
        self.index = self.index.max(10) + 1;
        self.changed.insert(name.to_owned(), self.index);
    }
}

impl Service {
    fn passes(&self) -> bool {
        self.checks.iter().all(|check| check.status == "passing")
    }

    fn described(&self, id: &str) -> Value {
        let or = |key: &str, other: Value| Some(self.told[key].clone()).filter(|told| !told.is_null()).unwrap_or(other);
        json!({
            "ID": id, "Service": self.name, "Tags": or("Tags", json!([])), "Meta": or("Meta", json!({})),
            "Address": or("Address", json!("")), "Port": or("Port", json!(0)),
            "TaggedAddresses": or("TaggedAddresses", json!({})), "Weights": { "Passing": 1, "Warning": 1 },
            "EnableTagOverride": false, "Datacenter": "dc1",
        })
    }

    fn entry(&self, id: &str) -> Value {
        let check = |check: &str, status: &str, output: &str, service: (&str, &str)| {
            json!({
                "Node": "rig", "CheckID": check, "Name": check, "Status": status, "Notes": "", "Output": output,
                "ServiceID": service.0, "ServiceName": service.1, "ServiceTags": [], "Definition": {},
            })
        };
        let mut checks = vec![check("serfHealth", "passing", "Agent alive and reachable", ("", ""))];
        checks.extend(self.checks.iter().map(|one| check(&one.id, &one.status, &one.output, (id, &self.name))));
        let node = json!({
            "ID": "00000000-0000-0000-0000-000000000001", "Node": "rig", "Address": "127.0.0.1", "Datacenter": "dc1",
            "TaggedAddresses": {}, "Meta": {},
        });
        json!({ "Node": node, "Service": self.described(id), "Checks": checks })
    }
}

impl Check {
    fn read(told: &Value, service: &str, number: Option<usize>) -> Result<Check, String> {
        let text = |key: &str| told[key].as_str().filter(|text| !text.is_empty());
        let time = |key: &str| text(key).map(duration).transpose();
        let kind = match (time("TTL")?, text("TCP"), time("Interval")?) {
            (Some(ttl), None, None) => Kind::Ttl(ttl),
            (None, Some(addr), Some(interval)) => Kind::Tcp { addr: addr.to_owned(), interval },
            _ => return Err(format!("Invalid check: this stand-in knows TTL, and TCP with Interval: {told}")),
        };
        let number = number.map(|number| format!(":{number}")).unwrap_or_default();
        let id = text("CheckID").map_or_else(|| format!("service:{service}{number}"), str::to_owned);
        let now = Instant::now();
        let next = if let Kind::Ttl(ttl) = kind { now + ttl } else { now };
        let status = text("Status").unwrap_or("critical").to_owned();
        let critical_since = (status == "critical").then_some(now);
        let removes_after = time("DeregisterCriticalServiceAfter")?;
        Ok(Check { id, kind, status, output: String::new(), next, critical_since, removes_after })
    }

    fn set(&mut self, status: &str, output: &str) -> bool {
        let changed = self.status != status;
        if changed {
            self.critical_since = (status == "critical").then(Instant::now);
        }
        (self.status, self.output) = (status.to_owned(), output.to_owned());
        changed
    }
}

/// Whether somebody listens there.
pub(super) fn dial(addr: &str) -> Result<(), String> {
    let refused = |error: std::io::Error| format!("dial tcp {addr}: {error}");
    let addr = addr.parse().map_err(|_| format!("dial tcp {addr}: not an address"))?;
    TcpStream::connect_timeout(&addr, Duration::from_secs(1)).map(drop).map_err(refused)
}

/// Go's "20s", "500ms", "1m", of one unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|one: char| one.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("Invalid duration {text:?}"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(60 * number)),
        "h" => Ok(Duration::from_secs(3600 * number)),
        _ => Err(format!("Invalid duration {text:?}")),
    }
}
