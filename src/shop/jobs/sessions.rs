//! `session_cleanup`: sessions that nobody used for long are deleted.

use chrono::TimeDelta;

use super::{Acts, Job, Rule};

/// Sessions that nobody used for long are deleted.
pub(super) const RULE: Rule = Rule {
    job: Job::SessionCleanup,
    summary: "DELETE sessions",
    find: include_str!("sql/sessions.sql"),
    before: |terms, now| now - TimeDelta::minutes(terms.session_minutes.into()),
    acts: Acts::Deletes(include_str!("sql/delete_sessions.sql")),
    asks_for_cod: false,
};
