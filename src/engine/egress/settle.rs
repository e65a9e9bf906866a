//! Writes the results of sends.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::PgExecutor;

use super::{Channel, Egress};
use crate::engine::queue::{Outcome, Reaction, Row, Split, State, is_splittable};
use crate::platform::backoff::{delay, look_again};
use crate::platform::database::{self, Class, column};
use crate::platform::failpoint;

/// The longest wait of a row that failed for a reason that is not its own.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The longest error text that is stored, in characters.
const MAX_ERROR: usize = 500;

/// A row with the reaction to its verdict.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The row.
    pub row: Row,
    /// The reaction.
    pub reaction: Reaction,
}

/// A row that is done with.
#[derive(Clone, Copy, Debug)]
pub struct Done<'a> {
    /// The row.
    pub row: &'a Row,
    /// Its outcome.
    pub outcome: Outcome,
    /// Why, when it was not sent.
    pub reason: Option<&'a str>,
}

/// A row that waits, or is dead.
struct Failed<'a> {
    row: &'a Row,
    state: State,
    wait: Duration,
    counted: bool,
    error: &'a str,
}

impl<C: Channel> Egress<C> {
    /// Writes what came of rows; tries until the database takes it. What is lost with the process is sent again under its id.
    pub(super) async fn settle(&self, results: Vec<Settled>) {
        let queue = self.outgoing.queue();
        for Settled { row, reaction } in &results {
            if let Reaction::Pause(reason) = reaction {
                self.outgoing.breaker().trip(reason);
                self.outgoing.set_aside(row);
            }
        }
        let (mut split, mut at, mut pause) = (Split::new(results.len()), 0, Duration::from_millis(50));
        while let Some(part) = split.next() {
            let part = &results[at..at + part];
            match self.settle_once(part).await {
                Ok(()) => {
                    at += part.len();
                    split.got_through(part.len());
                }
                Err(error) if !is_splittable(&error) => {
                    self.outgoing.pool().renewed_after(&error);
                    tracing::warn!(%queue, rows = part.len(), "Outcomes not written yet, trying again: error={error}");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
                Err(error) => {
                    if split.failed(part.len()) {
                        self.cannot_be_settled(&part[0].row, &error).await;
                        at += 1;
                    }
                }
            }
        }
    }

    /// The answer to a row cannot be written, while that of others can: it is dead, or it would be sent for ever. What is of a moment (a
    /// lock) is waited for: it is sent again, under its id.
    async fn cannot_be_settled(&self, row: &Row, error: &sqlx::Error) {
        let queue = self.outgoing.queue();
        let reason = format!("it was sent, and the answer cannot be written: {error}");
        tracing::error!(%queue, id = row.id, subject = %row.subject, "Answer not written: error={reason}");
        let of_the_row = database::class(error) == Class::Message;
        let reaction = if of_the_row { Reaction::Dead(reason) } else { Reaction::Wait(reason) };
        let given_up = Settled { row: row.clone(), reaction };
        if let Err(error) = self.settle_once(std::slice::from_ref(&given_up)).await {
            tracing::error!(%queue, id = row.id, "Row not given up, it is sent again: error={error}");
        }
    }

    async fn settle_once(&self, results: &[Settled]) -> Result<(), sqlx::Error> {
        let (done, failed) = sorted(results);
        if !done.is_empty() {
            failpoint::reach("settle-before-commit");
            let again = database::traced(self.outgoing.pool(), "DELETE pending", self.done(&done)).await?;
            failpoint::reach("settle-after-commit");
            if again {
                self.outgoing.wake().again(self.outgoing.queue());
            }
        }
        if !failed.is_empty() {
            let failing = self.failed(&failed);
            database::traced(self.outgoing.pool(), "UPDATE pending", failing).await?;
        }
        Ok(())
    }

    /// Whether rows that were blocked behind these go on. What the channel writes about an answer is committed with it.
    async fn done(&self, done: &[Done<'_>]) -> Result<bool, sqlx::Error> {
        if !C::WRITES_ANSWERS {
            return Ok(self
                .delete(&mut *self.outgoing.pool().acquire().await?, done)
                .await?
                .values()
                .any(|again| *again));
        }
        let mut tx = self.outgoing.pool().begin().await?;
        let deleted = self.delete(&mut *tx, done).await?;
        let ours: Vec<Done<'_>> = done.iter().copied().filter(|one| deleted.contains_key(&one.row.id)).collect();
        if !ours.is_empty() {
            self.channel.settled(&mut tx, &ours).await?;
        }
        tx.commit().await?;
        Ok(deleted.values().any(|again| *again))
    }

    /// The rows that were deleted, by id, each with whether others go on.
    async fn delete(
        &self,
        executor: impl PgExecutor<'_>,
        done: &[Done<'_>],
    ) -> Result<HashMap<i64, bool>, sqlx::Error> {
        let deleted: Vec<(i64, bool)> = sqlx::query_as(include_str!("sql/settle.sql"))
            .bind(self.outgoing.queue().as_str())
            .bind(column(done, |one| one.row.id))
            .bind(column(done, |one| <&str>::from(one.outcome)))
            .bind(column(done, |one| one.reason.map(shortened)))
            .bind(column(done, |one| one.row.edition))
            .fetch_all(executor)
            .await?;
        Ok(deleted.into_iter().collect())
    }

    async fn failed(&self, failed: &[Failed<'_>]) -> Result<(), sqlx::Error> {
        sqlx::query(include_str!("sql/fail.sql"))
            .bind(column(failed, |one| one.row.id))
            .bind(column(failed, |one| one.row.attempts))
            .bind(column(failed, |one| one.state.as_str()))
            .bind(column(failed, |one| one.wait.as_secs_f64()))
            .bind(column(failed, |one| i32::from(one.counted)))
            .bind(column(failed, |one| shortened(one.error)))
            .bind(column(failed, |one| one.row.edition))
            .execute(self.outgoing.pool())
            .await?;
        Ok(())
    }
}

/// Rows that are done with, and rows that wait or are dead. Those that stay as they are are in neither.
fn sorted(results: &[Settled]) -> (Vec<Done<'_>>, Vec<Failed<'_>>) {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for Settled { row, reaction } in results {
        let fails = |state, wait, counted, error| Failed { row, state, wait, counted, error };
        match reaction {
            Reaction::Settle { outcome, reason } => {
                done.push(Done { row, outcome: *outcome, reason: reason.as_deref() });
            }
            Reaction::Retry(error) => {
                failed.push(fails(State::Waiting, delay(row.attempts.unsigned_abs() + 1), true, error));
            }
            Reaction::Wait(error) => {
                let age = Duration::try_from_secs_f64(row.age).unwrap_or_default();
                failed.push(fails(State::Waiting, look_again(age, LONGEST_WAIT), false, error));
            }
            Reaction::Dead(error) => failed.push(fails(State::Dead, Duration::ZERO, true, error)),
            Reaction::Pause(_) | Reaction::Keep => {}
        }
    }
    (done, failed)
}

fn shortened(error: &str) -> String {
    error.replace('\0', "\u{fffd}").chars().take(MAX_ERROR).collect()
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use futures::FutureExt;
    use sqlx::types::chrono::NaiveDate;

    use super::*;
    use crate::engine::queue::{Others, Verdict, react};

    /// Answers by the row's body.
    struct Fake;

    impl Channel for Fake {
        const STEP: &'static str = "send fake";

        fn send(&self, row: &Row) -> impl Future<Output = Verdict> + Send {
            std::future::ready(match row.body.as_str() {
                "no" => Verdict::Refused("no".to_owned()),
                "gone" => Verdict::Obsolete("gone".to_owned()),
                "down" => Verdict::Failed("down".to_owned()),
                "later" => Verdict::Untried,
                _ => Verdict::Sent,
            })
        }

        fn log(&self, _: &Row, _: &Reaction) {}
    }

    fn row(body: &str, attempts: i32) -> Row {
        Row {
            id: 1,
            day: NaiveDate::default(),
            lane: 0,
            key: "k".to_owned(),
            attempts,
            exposed: 0,
            edition: 1,
            age: 3600.0,
            since_cause: 0.0,
            event_id: String::new(),
            topic: String::new(),
            subject: String::new(),
            body: body.to_owned(),
            traceparent: None,
        }
    }

    /// A row that was sent while others fared like this; at most three attempts.
    fn sent(body: &str, attempts: i32, others: Others) -> Settled {
        let row = row(body, attempts);
        let verdict = Fake.send(&row).now_or_never().unwrap();
        Settled { reaction: react(verdict, others, row.attempts.unsigned_abs(), 3), row }
    }

    #[test]
    fn an_answer_ends_the_row_with_its_outcome() {
        let answers = ["", "no", "gone"].map(|body| sent(body, 0, Others::Fail));
        let (done, failed) = sorted(&answers);
        let ends: Vec<_> = done.iter().map(|one| (one.outcome, one.reason)).collect();
        let expected = [(Outcome::Sent, None), (Outcome::Refused, Some("no")), (Outcome::Obsolete, Some("gone"))];
        assert_eq!((ends, failed.len()), (expected.to_vec(), 0));
    }

    #[test]
    fn a_failure_with_a_witness_counts_and_in_the_end_the_row_is_dead() {
        let failures = [sent("down", 0, Others::Succeed), sent("down", 2, Others::Succeed)];
        let (done, failed) = sorted(&failures);
        assert!(done.is_empty());
        let [again, dead] = failed.as_slice() else { panic!("{} rows", failed.len()) };
        assert!(again.state == State::Waiting && again.counted && again.wait > Duration::ZERO);
        assert!(dead.state == State::Dead && dead.counted && dead.error == "down");
    }

    #[test]
    fn a_failure_without_a_witness_waits_and_does_not_count() {
        let alone = [sent("down", 99, Others::Unknown)];
        let (_, failed) = sorted(&alone);
        assert!(failed[0].state == State::Waiting && !failed[0].counted && failed[0].wait <= LONGEST_WAIT);
    }

    #[test]
    fn a_row_that_failed_with_all_others_or_was_not_tried_stays_as_it_is() {
        let kept = [sent("down", 0, Others::Fail), sent("later", 0, Others::Succeed)];
        let (done, failed) = sorted(&kept);
        assert!(done.is_empty() && failed.is_empty());
    }

    #[test]
    fn an_error_is_stored_without_zero_bytes_and_not_longer_than_the_limit() {
        assert_eq!(shortened("a\0b"), "a\u{fffd}b");
        assert_eq!(shortened(&"x".repeat(2 * MAX_ERROR)).len(), MAX_ERROR);
    }
}
