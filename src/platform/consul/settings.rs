//! `worker.consul`: registration and resolving.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use url::{Host, Url};

use crate::platform::settings::rule::{Malformed, optional};
use crate::platform::settings::{HttpEndpoint, Rule, Secret, section};

section! {
    /// Finding services by name, and being found.
    pub struct Consul {
        #[serde(deserialize_with = "optional")]
        addr: Option<Agent> = Rule::optional_text::<Agent>(Agent::ALLOWED),
        #[serde(deserialize_with = "optional")]
        token: Option<Secret> = Rule::token(),
        service_name: String = Rule::name(),
        #[serde(deserialize_with = "optional")]
        advertise: Option<AdvertisedHost> = Rule::optional_text::<AdvertisedHost>(AdvertisedHost::ALLOWED),
        #[serde(with = "humantime_serde")]
        ttl: Duration = Rule::time(Duration::from_secs(2), Duration::from_secs(600)),
        #[serde(with = "humantime_serde")]
        stale_after: Duration = Rule::time(Duration::from_secs(1), Duration::from_secs(86_400)),
    }
}

/// An agent's HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Agent(HttpEndpoint);

impl Agent {
    /// The form of an [`Agent`], for refusals.
    pub const ALLOWED: &str = HttpEndpoint::ALLOWED_WITHOUT_SCHEME;

    /// The address with its scheme.
    #[must_use]
    pub const fn url(&self) -> &Url {
        self.0.url()
    }

    /// Host and port, to connect to.
    #[must_use]
    pub fn host_and_port(&self) -> (String, u16) {
        let host = match self.url().host() {
            Some(Host::Ipv6(ip)) => ip.to_string(),
            host => host.map(|host| host.to_string()).unwrap_or_default(),
        };
        (host, self.url().port_or_known_default().unwrap_or(8500))
    }
}

impl TryFrom<String> for Agent {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        let endpoint = HttpEndpoint::of(text)?;
        let url = endpoint.url();
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(Malformed("nothing may follow the port".to_owned()));
        }
        Ok(Self(endpoint))
    }
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A host name or an address, an IPv6 address without brackets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AdvertisedHost(String);

impl AdvertisedHost {
    /// The form of an [`AdvertisedHost`], for refusals.
    pub const ALLOWED: &str = "an IP address or a host name, without a port";

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AdvertisedHost {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        let ip = text.parse::<std::net::IpAddr>().ok();
        if ip.is_some_and(|ip| ip.is_unspecified()) {
            return Err(Malformed("nobody is reached at it".to_owned()));
        }
        // Kubernetes gives an IPv6 pod's address without brackets, which no URL allows.
        match ip.is_some() || Host::parse(&text).is_ok_and(|host| matches!(host, Host::Domain(_))) {
            true => Ok(Self(text)),
            false => Err(Malformed("it is no address and no host name".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_named_with_or_without_its_scheme() {
        for (given, shown) in [
            ("consul:8500", "http://consul:8500"),
            ("http://127.0.0.1:8500/", "http://127.0.0.1:8500"),
            ("https://consul.shop:8501", "https://consul.shop:8501"),
            ("[::1]:8500", "http://[::1]:8500"),
        ] {
            assert_eq!(Agent::try_from(given.to_owned()).unwrap().to_string(), shown);
        }
        for bad in ["", "consul", "consul:0", "ftp://consul:1", "http://u:p@consul:1", "http://consul:1/v1", "a b:1"] {
            assert!(Agent::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert_eq!(Agent::try_from("[::1]:8500".to_owned()).unwrap().host_and_port(), ("::1".to_owned(), 8500));
    }

    #[test]
    fn an_advertised_host_is_one_that_can_be_reached() {
        for good in ["10.1.2.3", "fd00::1", "worker-0.workers"] {
            assert_eq!(AdvertisedHost::try_from(good.to_owned()).unwrap().as_str(), good);
        }
        for bad in ["", "0.0.0.0", "::", "10.1.2.3:5005", "[::1]", "a b"] {
            assert!(AdvertisedHost::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
