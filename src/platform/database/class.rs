//! Whose fault a database error is.

/// SQLSTATE insufficient_privilege.
const LACKS_RIGHTS: &str = "42501";

/// Whose fault a database error is, by what is done about it.
///
/// | class | what is done | counted |
/// |---|---|---|
/// | `Session` | the sessions are thrown away, and the work is tried again at once; when it fails again, as the environment's | no |
/// | `Environment` | the work waits until it is back | no |
/// | `Message` | the work is divided until the row that is to blame stands alone | yes |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The session's, or that of a plan which it has kept: what failed has had no effect, or is lost with its transaction, and goes
    /// through in a new session.
    Session,
    /// The environment's: it will go away, nothing is counted.
    Environment,
    /// The statement's or its values': it will come again.
    Message,
}

/// A session that was made and cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableSession {
    /// Nothing can be written.
    #[error("the database is read-only: {0}")]
    ReadOnly(&'static str),
    /// The next statement of the session may run in another one.
    #[error("a connection pooler in transaction or statement mode stands before the database: {0}")]
    Pooled(String),
}

impl UnusableSession {
    /// A session whose backend is another one than before.
    pub(super) fn exchanged() -> Self {
        Self::Pooled("the backend of a session was exchanged".into())
    }
}

/// Its origin decides nothing, so it travels as an error of the connection.
impl From<UnusableSession> for sqlx::Error {
    fn from(unusable_session: UnusableSession) -> Self {
        Self::Io(std::io::Error::other(unusable_session))
    }
}

/// Why a session that was made cannot be used, where that is what the error says.
#[must_use]
pub fn unusable_session(error: &sqlx::Error) -> Option<&UnusableSession> {
    match error {
        sqlx::Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// The class of an error.
///
/// Of the session: 08 its connection or its protocol (a pooler that cut in), 25 its transaction (ended by
/// idle_in_transaction_session_timeout, or read-only since a failover), 26000 and 42P05 a prepared statement that is not there, or
/// is there already, 57P01 to 57P05 its end, a kept plan whose columns are others since an ALTER, and each connection that broke.
/// Of the environment: 28 and 42501 rights, 40 rollback (deadlock, serialization), 53 resources, 55 not in the right state
/// (lock_timeout), 57 operator intervention (statement_timeout), 58 the system, and everything else that is no answer of the server.
/// Of the message: all other answers, and values that do not decode.
#[must_use]
pub fn class(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            let begins = |classes: &[&str]| classes.iter().any(|class| code.starts_with(class));
            if begins(&["08", "25", "26000", "42P05", "57P0"]) || kept_plan(database.as_ref()) {
                Class::Session
            } else if begins(&["28", LACKS_RIGHTS, "40", "53", "55", "57", "58"]) {
                Class::Environment
            } else {
                Class::Message
            }
        }
        sqlx::Error::Io(_) if unusable_session(error).is_some() => Class::Environment,
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::BeginFailed => Class::Session,
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::Encode(_)
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::RowNotFound => Class::Message,
        _ => Class::Environment,
    }
}

/// "cached plan must not change result type", which has no SQLSTATE of its own and comes in the language of the server; the name of
/// the place that says it does not.
fn kept_plan(error: &dyn sqlx::error::DatabaseError) -> bool {
    let routine = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|error| error.routine());
    error.code().as_deref() == Some("0A000") && routine == Some("RevalidateCachedQuery")
}

/// Whether the role may not do what it was asked to.
#[must_use]
pub fn lacks_rights(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some(LACKS_RIGHTS))
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    /// An answer of a server, by its SQLSTATE.
    #[derive(Debug)]
    struct Answer(&'static str);

    impl fmt::Display for Answer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Answer {}

    impl sqlx::error::DatabaseError for Answer {
        fn message(&self) -> &str {
            self.0
        }

        fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> sqlx::error::ErrorKind {
            sqlx::error::ErrorKind::Other
        }
    }

    #[test]
    fn answers_are_classed_by_what_is_done_about_them() {
        for (code, expected) in [
            ("08P01", Class::Session),
            ("25006", Class::Session),
            ("25P02", Class::Session),
            ("25P03", Class::Session),
            ("26000", Class::Session),
            ("42P05", Class::Session),
            ("57P01", Class::Session),
            ("57P05", Class::Session),
            ("28P01", Class::Environment),
            ("42501", Class::Environment),
            ("40001", Class::Environment),
            ("40P01", Class::Environment),
            ("53100", Class::Environment),
            ("55P03", Class::Environment),
            ("57014", Class::Environment),
            ("58030", Class::Environment),
            ("0A000", Class::Message),
            ("22P02", Class::Message),
            ("23503", Class::Message),
            ("42P01", Class::Message),
        ] {
            assert_eq!(class(&sqlx::Error::Database(Box::new(Answer(code)))), expected, "{code}");
        }
    }

    #[test]
    fn a_connection_that_broke_is_the_sessions_and_one_that_may_not_write_the_environments() {
        let broken = sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        assert_eq!((class(&broken), unusable_session(&broken).is_some()), (Class::Session, false));
        let unwritable = sqlx::Error::from(UnusableSession::ReadOnly("it is a standby"));
        assert_eq!((class(&unwritable), unusable_session(&unwritable).is_some()), (Class::Environment, true));
        assert_eq!(class(&sqlx::Error::PoolTimedOut), Class::Environment);
        assert_eq!(class(&sqlx::Error::RowNotFound), Class::Message);
    }
}
