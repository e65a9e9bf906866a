//! Where a collector is.

use std::fmt;

use serde::Deserialize;

use crate::platform::settings::HttpEndpoint;
use crate::platform::settings::rule::Malformed;

/// A collector: `host:port`, `http://host:port` or `https://host:port`; a path may follow, to which HTTP adds the signal's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct OtlpEndpoint(HttpEndpoint);

impl OtlpEndpoint {
    /// The form of an [`OtlpEndpoint`], for refusals.
    pub const ALLOWED: &str = HttpEndpoint::ALLOWED_WITHOUT_SCHEME;

    /// Whether the connection is TLS.
    pub(super) fn is_encrypted(&self) -> bool {
        self.0.url().scheme() == "https"
    }

    pub(super) fn has_path(&self) -> bool {
        self.0.url().path() != "/"
    }

    /// The same place by the scheme http.
    pub(super) fn without_tls(&self) -> String {
        let port = self.0.url().port_or_known_default().unwrap_or_default();
        format!("http://{}:{port}", self.0.url().host_str().unwrap_or_default())
    }

    /// The place itself, as the specification wants it of a variable that is one signal's own: nothing is added.
    pub(super) fn as_it_is(&self) -> String {
        self.0.url().as_str().to_owned()
    }

    /// Where one signal (`traces`, `metrics`) is posted.
    pub(super) fn of_signal(&self, signal: &str) -> String {
        format!("{self}/v1/{signal}")
    }
}

impl TryFrom<String> for OtlpEndpoint {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        let endpoint = HttpEndpoint::of(text)?;
        let url = endpoint.url();
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Malformed("it carries a query".to_owned()));
        }
        Ok(Self(endpoint))
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::OtlpEndpoint;

    fn endpoint(text: &str) -> OtlpEndpoint {
        OtlpEndpoint::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn a_collector_is_named_with_or_without_a_scheme() {
        for (text, shown, traces, plain) in [
            ("collector:4317", "http://collector:4317", "http://collector:4317/v1/traces", "http://collector:4317"),
            ("[::1]:4317", "http://[::1]:4317", "http://[::1]:4317/v1/traces", "http://[::1]:4317"),
            ("http://c:4318/", "http://c:4318", "http://c:4318/v1/traces", "http://c:4318"),
            (
                "https://o.example/otlp",
                "https://o.example/otlp",
                "https://o.example/otlp/v1/traces",
                "http://o.example:443",
            ),
        ] {
            let endpoint = endpoint(text);
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(endpoint.of_signal("traces"), traces);
            assert_eq!(endpoint.without_tls(), plain);
            assert_eq!(
                endpoint.as_it_is(),
                if text.contains("/otlp") { shown.to_owned() } else { format!("{shown}/") }
            );
            assert_eq!(endpoint.is_encrypted(), text.starts_with("https"));
        }
        assert!(endpoint("https://o.example/otlp").has_path() && !endpoint("c:4317").has_path());
    }

    #[test]
    fn what_is_no_collector_is_refused() {
        for bad in
            ["collector", "ftp://c:21", "https://user:secret@c:4317", "c:0", "http://c:4318?x=1", "http://c:4318#x"]
        {
            assert!(OtlpEndpoint::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
