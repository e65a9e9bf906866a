//! A change that an operator asks for: the form of every button.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Form, FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use sqlx::PgTransaction;
use url::form_urlencoded;

use super::Context;
use super::guard::{Refusal, visitor};
use crate::platform::database::PgPool;

/// The most bytes of a form: 20,000 numbers of rows fit.
const LONGEST: usize = 1024 * 1024;

/// A change, asked for by an operator from a page of their own session: nothing else becomes one.
#[derive(Debug)]
pub struct Change<F> {
    /// The fields of the form, apart from `csrf` and `reason`.
    pub form: F,
    /// The operator, as the audit log names them.
    pub actor: String,
    /// Everything that the pages share.
    pub context: Arc<Context>,
    reason: String,
}

impl<F: DeserializeOwned> FromRequest<Arc<Context>> for Change<F> {
    type Rejection = Refusal;

    async fn from_request(request: Request, context: &Arc<Context>) -> Result<Self, Refusal> {
        let visitor = visitor(request.extensions())?;
        let (parts, body) = request.into_parts();
        let too_long = |_| Refusal(StatusCode::PAYLOAD_TOO_LARGE, "this form is too long".into());
        let body = to_bytes(body, LONGEST).await.map_err(too_long)?;
        let (mut csrf, mut reason) = (String::new(), String::new());
        for (name, value) in form_urlencoded::parse(&body) {
            match name.as_ref() {
                "csrf" => csrf = value.into_owned(),
                "reason" => reason = value.trim().to_owned(),
                _ => {}
            }
        }
        visitor.may_change(&csrf)?;
        let Form(form) = Form::from_request(Request::from_parts(parts, Body::from(body)), context)
            .await
            .map_err(|rejection| Refusal(rejection.status(), rejection.body_text()))?;
        Ok(Self { form, actor: visitor.actor(), context: Arc::clone(context), reason })
    }
}

impl<F> Change<F> {
    /// The reason of the change. The form asks for it; whoever sends the change by other means has to give it too.
    pub fn reason(&self) -> Result<&str, Refusal> {
        if self.reason.is_empty() {
            return Err(Refusal(StatusCode::BAD_REQUEST, "say why: a reason stands in the audit log".into()));
        }
        Ok(&self.reason)
    }

    /// The database.
    pub fn pool(&self) -> &PgPool {
        &self.context.pool
    }

    /// The transaction of the change.
    pub async fn begin(&self) -> Result<PgTransaction<'static>, sqlx::Error> {
        self.context.pool.begin().await
    }
}
