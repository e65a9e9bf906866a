//! Login and logout.

use std::sync::Arc;
use std::time::Instant;

use askama::Template;
use axum::extract::{Extension, Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum_extra::extract::cookie::{Cookie, SignedCookieJar};
use serde::Deserialize;

use super::Context;
use super::guard::{COOKIE, Refusal, Visitor, forms, forms_of, is_token, known, session_of, token};
use crate::web::admin::Peer;

/// The login form.
#[derive(Template)]
#[template(path = "login.html")]
struct Login<'a> {
    /// Why it is shown again; empty at first.
    problem: &'static str,
    /// The token that it sends along.
    csrf: &'a str,
}

/// The login form, with a token that only this browser has: nobody else logs it in, as somebody else.
fn form(context: &Context, headers: &HeaderMap, problem: &'static str, status: StatusCode) -> Response {
    let (jar, _) = known(context, headers);
    let (jar, csrf) = match forms(&jar) {
        Some(csrf) => (jar, csrf),
        None => {
            let csrf = token();
            (jar.add(forms_of(context, headers, &csrf)), csrf)
        }
    };
    match (Login { problem, csrf: &csrf }).render() {
        Ok(html) => (status, jar, Html(html)).into_response(),
        Err(error) => Refusal::from(error).into_response(),
    }
}

/// `GET /login`.
pub async fn show(State(context): State<Arc<Context>>, headers: HeaderMap) -> Response {
    if context.settings.users.is_none() || known(&context, &headers).1.is_some() {
        return Redirect::to("/").into_response();
    }
    form(&context, &headers, "", StatusCode::OK)
}

/// The fields of the login form.
#[derive(Deserialize)]
pub struct Credentials {
    name: String,
    password: String,
    #[serde(default)]
    csrf: String,
}

/// `POST /login`.
pub async fn login(
    State(context): State<Arc<Context>>,
    Extension(Peer(from)): Extension<Peer>,
    headers: HeaderMap,
    Form(credentials): Form<Credentials>,
) -> Response {
    let Credentials { name, password, csrf } = credentials;
    let refused = |problem, status| form(&context, &headers, problem, status);
    if password.len() > 1024 || name.len() > 64 {
        return refused("This name or password is too long.", StatusCode::BAD_REQUEST);
    }
    let (jar, _) = known(&context, &headers);
    if !forms(&jar).is_some_and(|token| is_token(&token, &csrf)) {
        return refused("This form was open for too long: try again.", StatusCode::FORBIDDEN);
    }
    if !context.guard.tries.begin(from, Instant::now()) {
        return refused("Too many failed logins: try again in a minute.", StatusCode::TOO_MANY_REQUESTS);
    }
    let Ok(_permit) = context.guard.checks.acquire().await else {
        return refused("The console is stopping.", StatusCode::SERVICE_UNAVAILABLE);
    };
    let users = context.users.borrow().clone();
    let asked = name.clone();
    let role = tokio::task::spawn_blocking(move || users.login(&asked, &password)).await.ok().flatten();
    let Some(role) = role else {
        tracing::warn!(%from, "Console: a login failed");
        return refused("This name and password do not go together.", StatusCode::UNAUTHORIZED);
    };
    context.guard.tries.was_right(from);
    tracing::info!(user = %name, %from, "Console: logged in as {role}");
    (jar.add(session_of(&context, &headers, &name, role)), Redirect::to("/")).into_response()
}

/// The fields of the logout form.
#[derive(Deserialize)]
pub struct Logout {
    csrf: String,
}

/// `POST /logout`.
pub async fn logout(
    State(context): State<Arc<Context>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    Form(form): Form<Logout>,
) -> Response {
    if !visitor.sent(&form.csrf) {
        return Refusal(StatusCode::FORBIDDEN, "this form is not from this session".into()).into_response();
    }
    let jar = SignedCookieJar::from_headers(&headers, context.guard.key.clone());
    let mut gone = Cookie::from(COOKIE);
    gone.set_path("/");
    (jar.remove(gone), Redirect::to("/login")).into_response()
}
