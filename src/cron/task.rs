//! What a run does, as it stands in the ledger.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Job;
use super::ledger::{DEAD_LETTERS, REPLAY, Run};
use crate::operations::bulk::{self, Bulk};
use crate::replay::{Request, Tally};

/// What a run does.
#[derive(Clone, Debug)]
pub(super) enum Task {
    /// A job.
    Job(Job),
    /// A replay, and what it has come to.
    Replay(Box<Request>, Tally),
    /// Dead rows that are tried again or given up, and how many were looked at.
    DeadLetters(Bulk, bulk::Progress),
}

impl Task {
    /// What `run` does. A request that cannot be read is the run's own fault: others go on.
    pub(super) fn of(run: &Run) -> Result<Self, sqlx::Error> {
        let request = || run.request.clone().unwrap_or_default();
        Ok(match run.job.as_str() {
            REPLAY => {
                let request: Request = read(request())?;
                let tally = run.result.clone().map_or_else(|| Ok(request.begin()), read)?;
                Self::Replay(Box::new(request), tally)
            }
            DEAD_LETTERS => {
                Self::DeadLetters(read(request())?, run.result.clone().map(read).transpose()?.unwrap_or_default())
            }
            job => Self::Job(Job::named(job).ok_or(sqlx::Error::RowNotFound)?),
        })
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, sqlx::Error> {
    serde_json::from_value(value).map_err(|error| sqlx::Error::Decode(error.into()))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;

    fn run(job: &str, request: Value, result: Option<Value>) -> Run {
        Run { request: Some(request), result, ..Run::first(job.into(), DateTime::UNIX_EPOCH) }
    }

    #[test]
    fn a_request_that_cannot_be_read_is_the_runs_own_fault() {
        let asked = json!({ "verb": "skip", "rows": 3, "actor": "ada", "reason": "a test", "of": "a later version" });
        let task = Task::of(&run(DEAD_LETTERS, asked, Some(json!({ "seen": 2 })))).unwrap();
        assert!(matches!(task, Task::DeadLetters(Bulk { rows: 3, .. }, bulk::Progress { seen: 2 })), "{task:?}");
        for wrong in [run(DEAD_LETTERS, json!({ "verb": "burn" }), None), run(REPLAY, json!({}), None)] {
            let error = Task::of(&wrong).unwrap_err();
            assert_eq!(crate::database::class(&error), crate::database::Class::Message, "{error}");
        }
    }
}
