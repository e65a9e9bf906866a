//! Visitors and their rights: sessions, tokens against forged requests, headers of every answer.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderValue};
use axum::http::{Extensions, HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::cookie::{Cookie, Key, SameSite, SignedCookieJar};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::Context;
use super::tries::Tries;
use super::users::Role;
use crate::operations;
use crate::platform::settings::Secret;
use crate::web::admin;

/// The cookie of a session: set by a login and by nothing else, so that no page that a browser is sent to ends it.
pub(super) const COOKIE: &str = "order_worker_session";
/// The cookie of the forms of somebody who has no session: at the login, and behind a proxy that logs in.
pub(super) const FORMS: &str = "order_worker_forms";
/// Passwords that are checked at once: each takes memory and time on purpose.
const CHECKS: usize = 2;

/// The files that a page may load: nothing from elsewhere, no script and no style but its own files.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The person who asks.
#[derive(Clone, Debug)]
pub struct Visitor {
    user: Option<(String, Role)>,
    csrf: String,
    logged_in: bool,
}

impl Visitor {
    /// Whether they may change something.
    pub fn is_operator(&self) -> bool {
        self.user.as_ref().is_some_and(|(_, role)| *role == Role::Operator)
    }

    /// The token that their forms have to carry.
    pub fn csrf(&self) -> &str {
        &self.csrf
    }

    /// Whether they came in by a password, and can log out.
    pub const fn logged_in(&self) -> bool {
        self.logged_in
    }

    /// Their name and role, for people.
    pub fn name_and_role(&self) -> (String, String) {
        match &self.user {
            Some((name, role)) => (name.clone(), role.to_string()),
            None => ("nobody".into(), "viewer".into()),
        }
    }

    /// Their name in the audit log.
    pub fn actor(&self) -> String {
        format!("{} (console)", self.name_and_role().0)
    }

    /// Whether a form that carries `csrf` is from a page of their own.
    pub(super) fn sent(&self, csrf: &str) -> bool {
        is_token(&self.csrf, csrf)
    }

    /// Refuses a change by somebody who is no operator, and one that no page of their own has asked for.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    pub fn may_change(&self, csrf: &str) -> Result<(), Refusal> {
        if !self.is_operator() {
            return Err(Refusal(StatusCode::FORBIDDEN, "only operators change something here".into()));
        }
        if !self.sent(csrf) {
            return Err(Refusal(
                StatusCode::FORBIDDEN,
                "this form is not from this session: load the page again".into(),
            ));
        }
        Ok(())
    }
}

/// An answer that is no page: the status, and why.
#[derive(Debug)]
pub struct Refusal(pub StatusCode, pub String);

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        tracing::warn!("Console: error={error}");
        Self(StatusCode::SERVICE_UNAVAILABLE, format!("the database: {error}"))
    }
}

impl From<operations::Error> for Refusal {
    fn from(error: operations::Error) -> Self {
        match error {
            operations::Error::Refused { what, next } => Self(StatusCode::CONFLICT, format!("{what}; {next}")),
            operations::Error::Database(error) => error.into(),
        }
    }
}

impl From<askama::Error> for Refusal {
    fn from(error: askama::Error) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

/// Tells who asks.
#[derive(Debug)]
pub struct Guard {
    pub(super) key: Key,
    pub(super) tries: Tries,
    pub(super) checks: Semaphore,
}

impl Guard {
    /// Signs by `key`, which all replicas share; without one by a key of this process, whose sessions end with it.
    pub fn new(key: Option<&Secret>) -> Self {
        let key = key.map_or_else(Key::generate, |key| Key::from(&Sha512::digest(key.expose())));
        Self { key, tries: Tries::default(), checks: Semaphore::new(CHECKS) }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Whether a form carries its token.
pub(super) fn is_token(token: &str, sent: &str) -> bool {
    !token.is_empty() && bool::from(token.as_bytes().ct_eq(sent.as_bytes()))
}

/// 128 bits that nobody can guess.
pub(super) fn token() -> String {
    hex::encode(&Key::generate().signing()[..16])
}

/// `expires|csrf|role|name`: signed, so that nobody else can have written it.
fn session(value: &str) -> Option<Visitor> {
    let mut parts = value.splitn(4, '|');
    let (expires, csrf, role, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if expires.parse::<u64>().ok()? < now() {
        return None;
    }
    let user = Role::named(role).map(|role| (name.to_owned(), role));
    Some(Visitor { logged_in: user.is_some(), user, csrf: csrf.to_owned() })
}

/// The cookie of a login.
pub(super) fn session_of(context: &Context, headers: &HeaderMap, name: &str, role: Role) -> Cookie<'static> {
    cookie(context, headers, COOKIE, &token(), &format!("{role}|{name}"))
}

/// The cookie of forms that carry `csrf`.
pub(super) fn forms_of(context: &Context, headers: &HeaderMap, csrf: &str) -> Cookie<'static> {
    cookie(context, headers, FORMS, csrf, "|")
}

fn cookie(context: &Context, headers: &HeaderMap, name: &'static str, csrf: &str, user: &str) -> Cookie<'static> {
    let expires = now() + context.settings.session.as_secs();
    let mut cookie = Cookie::new(name, format!("{expires}|{csrf}|{user}"));
    cookie.set_http_only(true);
    // Lax: whoever follows a link to a page comes with their session; what another site's page sends, or loads, comes without.
    cookie.set_same_site(SameSite::Lax);
    cookie.set_secure(context.settings.secure_cookies || came_by_tls(headers));
    cookie.set_path("/");
    cookie
}

/// Whether a proxy says that the browser speaks TLS with it. Somebody who says so without a proxy gets a cookie that their browser
/// keeps to itself: nothing is won by it.
fn came_by_tls(headers: &HeaderMap) -> bool {
    let first = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        // The proxy nearest to the browser stands first.
        value.split(',').next().unwrap_or_default().trim().to_ascii_lowercase()
    };
    let forwarded = first("forwarded");
    let mut parts = forwarded.split(';').map(str::trim);
    first("x-forwarded-proto") == "https" || parts.any(|part| matches!(part, "proto=https" | "proto=\"https\""))
}

/// Tells who asks; sends those away to the login who have to say it first.
pub async fn identify(
    State(context): State<Arc<Context>>,
    headers: HeaderMap,
    mut request: Request,
    next: Next,
) -> Response {
    let (jar, known) = known(&context, &headers);
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty());
    let by_proxy = || -> Option<(String, Role)> {
        let name = text(Some(context.settings.user_header.as_str()).filter(|name| !name.is_empty())?)?;
        let role = Some(context.settings.role_header.as_str()).filter(|name| !name.is_empty()).and_then(text);
        Some((name.chars().take(64).collect(), role.and_then(Role::named).unwrap_or(Role::Viewer)))
    };
    let (visitor, jar) = if let Some(user) = by_proxy() {
        let (csrf, jar) = match forms(&jar) {
            Some(csrf) => (csrf, jar),
            // A page makes the token of its forms. What is sent without one is from no page of ours, and replaces none.
            None if request.method() != Method::GET => (String::new(), jar),
            None => {
                let csrf = token();
                let jar = jar.add(forms_of(&context, &headers, &csrf));
                (csrf, jar)
            }
        };
        (Visitor { user: Some(user), csrf, logged_in: false }, jar)
    } else if context.settings.knows_its_users() {
        match known {
            Some(known) => (known, jar),
            None if context.settings.users.is_none() => {
                let words = format!("the proxy has to name the user: there is no {}", context.settings.user_header);
                return Refusal(StatusCode::UNAUTHORIZED, words).into_response();
            }
            // Told to htmx in its own way: it would put the login into the middle of the page that it keeps live.
            None if headers.contains_key("hx-request") => {
                return (StatusCode::UNAUTHORIZED, [("hx-redirect", "/login")]).into_response();
            }
            None if request.method() == Method::GET => return Redirect::to("/login").into_response(),
            None => return Refusal(StatusCode::UNAUTHORIZED, "log in first".into()).into_response(),
        }
    } else if !is_this_machine(headers.get(header::HOST)) {
        let words = "without users the console answers to localhost alone: worker.console.users";
        return Refusal(StatusCode::MISDIRECTED_REQUEST, words.into()).into_response();
    } else if is_part_of_another_site(&headers) {
        // A page from elsewhere sees no answer, but would have the database work for it.
        return Refusal(StatusCode::FORBIDDEN, "pages of other sites ask for nothing here".into()).into_response();
    } else {
        // Nobody can say who they are: everybody on this machine may look.
        (Visitor { user: None, csrf: String::new(), logged_in: false }, jar)
    };
    request.extensions_mut().insert(visitor);
    (jar, next.run(request).await).into_response()
}

/// Whether the request names this machine: a page from elsewhere, whose name was made to point here, does not (DNS rebinding).
fn is_this_machine(host: Option<&HeaderValue>) -> bool {
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost")
        || name == "[::1]"
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether the browser says that another site's page asks, as for a picture. Following a link is allowed.
fn is_part_of_another_site(headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|given| given == value);
    (is("sec-fetch-site", "cross-site") || is("sec-fetch-site", "same-site")) && !is("sec-fetch-mode", "navigate")
}

/// Headers of every answer.
pub async fn headers(request: Request, next: Next) -> Response {
    let is_asset = request.uri().path().starts_with("/assets/");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    admin::protect(headers, POLICY);
    let kept = if is_asset { "max-age=3600" } else { "no-store" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    response
}

/// The visitor of a request, as `identify` has found them.
pub(super) fn visitor(extensions: &Extensions) -> Result<Visitor, Refusal> {
    let visitor = extensions.get().cloned();
    visitor.ok_or_else(|| Refusal(StatusCode::UNAUTHORIZED, "log in first".into()))
}

/// The session of a request, if it has one that still holds.
pub(super) fn known(context: &Context, headers: &HeaderMap) -> (SignedCookieJar, Option<Visitor>) {
    let jar = SignedCookieJar::from_headers(headers, context.guard.key.clone());
    let known = jar.get(COOKIE).and_then(|cookie| session(cookie.value()));
    // Whoever is taken from the users is out at once.
    let known =
        known.filter(|known| known.user.as_ref().is_some_and(|(name, role)| context.users.borrow().has(name, *role)));
    (jar, known)
}

/// The token of the forms of somebody who has no session.
pub(super) fn forms(jar: &SignedCookieJar) -> Option<String> {
    Some(session(jar.get(FORMS)?.value())?.csrf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_this_machine() {
        let is = |host: &str| is_this_machine(Some(&HeaderValue::from_str(host).unwrap()));
        for host in ["localhost", "localhost:8082", "127.0.0.1:8082", "127.0.0.1", "[::1]:8082", "LOCALHOST:1"] {
            assert!(is(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8082",
            "localhost.evil.example",
            "10.0.0.1:8082",
            "",
            ":8082",
            "127.0.0.1.evil.example",
        ] {
            assert!(!is(host), "{host}");
        }
        assert!(!is_this_machine(None));
    }

    #[test]
    fn a_proxy_says_whether_the_browser_speaks_tls() {
        let came = |name: &'static str, value: &'static str| {
            came_by_tls(&HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]))
        };
        for value in ["https", "HTTPS", "https, http", " https ,http"] {
            assert!(came("x-forwarded-proto", value), "{value}");
        }
        for value in ["http", "http, https", "", "httpsx"] {
            assert!(!came("x-forwarded-proto", value), "{value}");
        }
        for value in ["proto=https", "for=192.0.2.1; proto=https;host=a", "for=a;proto=\"https\", for=b;proto=http"] {
            assert!(came("forwarded", value), "{value}");
        }
        for value in ["proto=http", "for=a;proto=http, for=b;proto=https", "for=https"] {
            assert!(!came("forwarded", value), "{value}");
        }
        assert!(!came_by_tls(&HeaderMap::new()));
    }
}
