//! Addresses: those that the worker listens on and those that it calls.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::Deserialize;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use url::{Host, Url};

use super::rule::Malformed;

/// Connections that may wait to be taken, as `TcpListener::bind` of tokio has it.
const BACKLOG: i32 = 1024;

/// Where to listen: `host:port`, or `:port` for all interfaces. Port 0 takes a free one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ListenAddr {
    /// The host as written, an IPv6 address without its brackets; `None`: all interfaces.
    host: Option<String>,
    port: u16,
}

impl ListenAddr {
    /// The form of a [`ListenAddr`], for refusals.
    pub const ALLOWED: &str = "host:port or :port, the port from 0 (any free one) to 65535";

    /// The host as written, an IPv6 address without its brackets; `None`: all interfaces, also where an address says so.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        let every = |host: &&str| host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_unspecified());
        self.host.as_deref().filter(|host| !every(host))
    }

    /// The port, 0 for any free one.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether only this machine can connect: `localhost`, or a loopback address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host.as_deref().is_some_and(|host| {
            host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        })
    }

    /// Opens the port for pages, and logs it. A port that is taken is no reason to stop: two workers of one machine have one console and
    /// one board.
    pub async fn open_pages(&self, name: &str) -> Option<TcpListener> {
        match self.bind().await {
            Ok(listener) => {
                tracing::info!("{name} opened: http://{}", self.opened_at(&listener));
                Some(listener)
            }
            Err(error) => {
                tracing::warn!(addr = %self, "{name} not opened: error={error}");
                None
            }
        }
    }

    /// The address that came out: port 0 has become another.
    #[must_use]
    pub fn opened_at(&self, listener: &TcpListener) -> String {
        listener.local_addr().map_or_else(|_| self.to_string(), |at| at.to_string())
    }

    /// Opens the port. All interfaces means IPv6 and IPv4 on one socket, or IPv4 alone where the
    /// machine has no IPv6.
    ///
    /// # Errors
    /// When the host cannot be resolved, is not of this machine, or the port is taken or forbidden.
    pub async fn bind(&self) -> io::Result<TcpListener> {
        match &self.host {
            Some(host) => TcpListener::bind((host.as_str(), self.port)).await,
            None => match both_families(self.port) {
                Err(error) if no_ipv6(&error) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, self.port)).await,
                bound => bound,
            },
        }
    }
}

/// An IPv6 socket that takes IPv4 as well, whatever net.ipv6.bindv6only says.
fn both_families(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// EAFNOSUPPORT (the kernel has no IPv6; `io::ErrorKind` has no name for it, 97 is Linux's number) or
/// EADDRNOTAVAIL (it is switched off).
fn no_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT)
        || matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
}

impl TryFrom<String> for ListenAddr {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        let (host, port) = split(&text)?;
        let host = if host.is_empty() { None } else { Some(checked_host(host)?) };
        Ok(Self { host, port })
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host_port(f, self.host.as_deref().unwrap_or_default(), self.port)
    }
}

/// Something to connect to: `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RemoteAddr {
    host: String,
    port: u16,
}

impl RemoteAddr {
    /// The form of a [`RemoteAddr`], for refusals.
    pub const ALLOWED: &str = "host:port, the port from 1 to 65535";

    /// The host: a name or an address, IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl TryFrom<String> for RemoteAddr {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        let (host, port) = split(&text)?;
        if host.is_empty() {
            return Err(Malformed("the host is missing".to_owned()));
        }
        if port == 0 {
            return Err(Malformed("nothing can be reached on port 0".to_owned()));
        }
        Ok(Self { host: checked_host(host)?, port })
    }
}

impl fmt::Display for RemoteAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host_port(f, &self.host, self.port)
    }
}

/// A gRPC server without TLS: `host:port` or `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct GrpcEndpoint(RemoteAddr);

impl GrpcEndpoint {
    /// The form of a [`GrpcEndpoint`], for refusals.
    pub const ALLOWED: &str = "host:port or http://host:port";

    /// The address as a URI with its scheme, as `tonic::transport::Endpoint` wants it.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("http://{}", self.0)
    }

    /// The host: a name or an address, IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host()
    }

    /// Host and port.
    #[must_use]
    pub const fn addr(&self) -> &RemoteAddr {
        &self.0
    }
}

impl TryFrom<String> for GrpcEndpoint {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        let rest = match text.split_once("://") {
            None => text.as_str(),
            Some(("http", rest)) => rest.strip_suffix('/').unwrap_or(rest),
            Some(("https", _)) => {
                return Err(Malformed("this worker speaks gRPC without TLS".to_owned()));
            }
            Some(_) => return Err(Malformed("its scheme is not http".to_owned())),
        };
        // A scheme without a port means its own port.
        let addr = if text.contains("://") && !has_port(rest) {
            RemoteAddr::try_from(format!("{rest}:80"))
        } else {
            RemoteAddr::try_from(rest.to_owned())
        };
        addr.map(Self)
    }
}

impl fmt::Display for GrpcEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri())
    }
}

/// An HTTP service: `http://host:port` or `https://host:port`, a path may follow.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HttpEndpoint(Url);

impl HttpEndpoint {
    /// The form of an [`HttpEndpoint`], for refusals.
    pub const ALLOWED: &str = "http://host:port or https://host:port";
    /// The form that [`HttpEndpoint::of`] reads, for refusals.
    pub const ALLOWED_WITHOUT_SCHEME: &str = "host:port, http://host:port or https://host:port";

    /// An address whose scheme may be left out, and is http then.
    ///
    /// # Errors
    /// When the text is no such address.
    pub fn of(text: String) -> Result<Self, Malformed> {
        let text = if text.contains("://") { text } else { format!("http://{}", RemoteAddr::try_from(text)?) };
        text.try_into()
    }

    /// The address as a URL.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for HttpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl TryFrom<String> for HttpEndpoint {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        let url = Url::parse(&text).map_err(|error| Malformed(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Malformed("its scheme is not http or https".to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Malformed("it carries a user or a password".to_owned()));
        }
        Ok(Self(url))
    }
}

/// Splits at the last colon, so that an IPv6 address keeps its own.
fn split(text: &str) -> Result<(&str, u16), Malformed> {
    let (host, port) = text.rsplit_once(':').ok_or_else(|| Malformed("the port is missing".to_owned()))?;
    if port.is_empty() {
        return Err(Malformed("the port is missing".to_owned()));
    }
    // `parse` alone would take "+5005".
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) if digits => Ok((host, port)),
        _ => Err(Malformed("the port is not a number up to 65535".to_owned())),
    }
}

/// Whether a port follows the host, which may be an IPv6 address in brackets.
fn has_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'))
}

fn checked_host(host: &str) -> Result<String, Malformed> {
    match Host::parse(host) {
        Ok(Host::Ipv6(address)) => Ok(address.to_string()),
        Ok(_) if host.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(host.to_owned()),
        Ok(_) => Err(Malformed("its host is not a host name".to_owned())),
        Err(_) if host.contains(':') => Err(Malformed("an IPv6 address stands in brackets: [::1]:5005".to_owned())),
        Err(error) => Err(Malformed(format!("its host is not a host name: {error}"))),
    }
}

fn write_host_port(f: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Result<ListenAddr, Malformed> {
        text.to_owned().try_into()
    }

    fn grpc(text: &str) -> Result<String, Malformed> {
        GrpcEndpoint::try_from(text.to_owned()).map(|endpoint| endpoint.uri())
    }

    #[test]
    fn a_listening_address_is_checked() {
        for good in [":5005", ":0", "127.0.0.1:8081", "[::1]:8081", "localhost:65535"] {
            assert_eq!(listen(good).map(|addr| addr.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "5005", ":", ":65536", ":+5", ":-1", ":http", "::1:80", "a b:80", "256.1.1.1:80"] {
            assert!(listen(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_remote_address_needs_host_and_port() {
        for good in ["redis:6379", "10.0.0.1:1", "[fd00::1]:6379", "a_b.svc.cluster.local:80"] {
            let addr = RemoteAddr::try_from(good.to_owned()).map(|addr| addr.to_string());
            assert_eq!(addr, Ok(good.to_owned()));
        }
        for bad in ["", "redis", ":6379", "redis:0", "redis:", "redis://redis:6379", "re dis:1"] {
            assert!(RemoteAddr::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_grpc_endpoint_gets_its_scheme() {
        assert_eq!(grpc("warehouse-service:81"), Ok("http://warehouse-service:81".to_owned()));
        assert_eq!(grpc("http://127.0.0.1:50001/"), Ok("http://127.0.0.1:50001".to_owned()));
        assert_eq!(grpc("http://warehouse"), Ok("http://warehouse:80".to_owned()));
        assert_eq!(grpc("http://[::1]"), Ok("http://[::1]:80".to_owned()));
        let no_tls = grpc("https://warehouse:443").unwrap_err().to_string();
        assert!(no_tls.contains("without TLS"), "{no_tls}");
        for bad in ["", "warehouse", "dns://x/y:1", "http://", "http://a:1/path", "http://u:p@a:1"] {
            assert!(grpc(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_http_endpoint_is_a_url_without_a_password() {
        for good in ["http://payment-service:80", "https://pay.example/v1"] {
            assert!(HttpEndpoint::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "payment-service:80", "ftp://a", "http://u:p@a"] {
            assert!(HttpEndpoint::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn all_interfaces_take_ipv4_too() {
        let listener = listen(":0").unwrap().bind().await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let _client = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let taken = listen(&format!(":{port}")).unwrap().bind().await.unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }
}
