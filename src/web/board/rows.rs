//! Queues as apalis-board reads them: nothing is run and nothing is written through here.

use std::pin::Pin;
use std::task::{Context, Poll};

use apalis_codec::json::JsonCodec;
use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::queue::Queue as Name;
use apalis_core::backend::{
    Backend, BackendConfig, FetchById, Filter, ListAllTasks, ListQueues, ListTasks, ListWorkers, Metrics, QueueInfo,
    RunningWorker, StatType, Statistic, WireFormatBackend,
};
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::metadata::MetadataStore;
use apalis_core::task::status::Status;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::context::WorkerContext;
use futures::Sink;
use serde_json::{Value, json};
use tower_layer::Identity;

use crate::engine::queue::Queue;
use crate::operations::QUEUES;
use crate::platform::database::PgPool;

/// One queue; the first that the board knows also answers for all of them.
#[derive(Debug)]
pub struct Rows {
    pool: PgPool,
    queue: Queue,
    codec: JsonCodec<Value>,
}

/// Why the board has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The database.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// The board only shows.
    #[error("rows come from the inbox, the outbox and the ledger of jobs, never from the board")]
    ReadOnly,
}

#[derive(sqlx::FromRow)]
struct Row {
    queue: String,
    id: i64,
    key: Option<String>,
    state: Option<String>,
    attempts: i32,
    created: i64,
    done: Option<i64>,
    worker: Option<String>,
    error: Option<String>,
    status: String,
}

impl Row {
    fn task(self) -> Task<Value> {
        let body = json!({ "key": self.key, "state": self.state, "error": self.error });
        let mut metadata = MetadataStore::new();
        if let Some(error) = self.error {
            // A text that cannot be kept there stands in the body.
            let _ = metadata.insert("error", error);
        }
        TaskBuilder::new(body)
            .task_id(TaskId::from_string(self.id.to_string()))
            .queue(Name::from(self.queue.as_str()))
            .status(self.status.parse().unwrap_or_default())
            .attempt(usize::try_from(self.attempts).unwrap_or(0))
            .run_at_timestamp(self.created.unsigned_abs())
            .done_at(self.done.map(i64::unsigned_abs))
            .lock_by(self.worker)
            .with_metadata(metadata)
            .build()
    }
}

#[derive(sqlx::FromRow)]
struct Counts {
    queue: String,
    pending: i64,
    running: i64,
    queued: i64,
    dead: i64,
    failed: i64,
}

impl Counts {
    fn statistics(&self) -> Vec<Statistic> {
        let total = self.pending + self.running + self.queued + self.failed + self.dead;
        [
            ("PENDING_JOBS", self.pending),
            ("RUNNING_JOBS", self.running),
            ("QUEUED_JOBS", self.queued),
            ("TOTAL_JOBS", total),
            ("FAILED_JOBS", self.failed),
            ("KILLED_JOBS", self.dead),
        ]
        .into_iter()
        .map(|(title, value)| Statistic {
            title: title.into(),
            stat_type: StatType::Number,
            value: value.to_string(),
            priority: Some(1),
        })
        .collect()
    }
}

impl Rows {
    /// The rows of a queue.
    #[must_use]
    pub fn of(pool: PgPool, queue: Queue) -> Self {
        Self { pool, queue, codec: JsonCodec::default() }
    }

    async fn rows(
        &self,
        queues: &[Queue],
        status: &Status,
        id: Option<i64>,
        filter: &Filter,
    ) -> Result<Vec<Task<Value>>, RowsError> {
        let rows: Vec<Row> = sqlx::query_as(include_str!("sql/rows.sql"))
            .bind(queues.iter().map(|queue| queue.as_str()).collect::<Vec<_>>())
            .bind(status.to_string())
            .bind(id)
            .bind(i64::from(filter.limit()))
            .bind(i64::from(filter.offset()))
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(Row::task).collect())
    }

    async fn counts(&self, queues: &[Queue]) -> Result<Vec<Counts>, RowsError> {
        let names: Vec<_> = queues.iter().map(|queue| queue.as_str()).collect();
        Ok(sqlx::query_as(include_str!("sql/counts.sql")).bind(names).fetch_all(&self.pool).await?)
    }

    async fn workers(&self, all: bool) -> Result<Vec<RunningWorker>, RowsError> {
        let rows: Vec<(String, String, i64, i64)> = sqlx::query_as(include_str!("sql/workers.sql"))
            .bind([self.queue.as_str()].as_slice())
            .bind(all)
            .fetch_all(&self.pool)
            .await?;
        let worker = |(id, queue, started, now): (String, String, i64, i64)| RunningWorker {
            id,
            queue,
            backend: "Postgres".into(),
            started_at: started.unsigned_abs(),
            last_heartbeat: now.unsigned_abs(),
            layers: "concurrency, catch_panic".into(),
        };
        Ok(rows.into_iter().map(worker).collect())
    }
}

impl Backend for Rows {
    type Task = Task<Value>;
    type Error = RowsError;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), RowsError>> {
        Poll::Ready(Err(RowsError::ReadOnly))
    }

    fn poll_next(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Task<Value>, RowsError>>> {
        Poll::Ready(None)
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), RowsError>> {
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for Rows {
    type Args = Value;
    type Id = i64;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

impl WireFormatBackend for Rows {
    type Codec = JsonCodec<Value>;
    type Compact = Value;

    fn codec(&self) -> &Self::Codec {
        &self.codec
    }
}

/// The board asks for a way in; there is none.
impl Sink<Task<Value>> for Rows {
    type Error = RowsError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), RowsError>> {
        Poll::Ready(Err(RowsError::ReadOnly))
    }

    fn start_send(self: Pin<&mut Self>, _: Task<Value>) -> Result<(), RowsError> {
        Err(RowsError::ReadOnly)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), RowsError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), RowsError>> {
        Poll::Ready(Ok(()))
    }
}

impl ListTasks for Rows {
    async fn list_tasks(&self, filter: &Filter) -> Result<Vec<Task<Value>>, RowsError> {
        self.rows(&[self.queue], &filter.status.clone().unwrap_or_default(), None, filter).await
    }
}

impl ListAllTasks for Rows {
    async fn list_all_tasks(&self, filter: &Filter) -> Result<Vec<Task<Value>>, RowsError> {
        self.rows(&QUEUES, &filter.status.clone().unwrap_or_default(), None, filter).await
    }
}

impl FetchById for Rows {
    async fn fetch_by_id(&mut self, task_id: &TaskId) -> Result<Option<Task<Value>>, RowsError> {
        let Ok(id) = task_id.to_string().parse() else { return Ok(None) };
        let one = Filter { status: None, page: 1, page_size: Some(1) };
        for status in [Status::Pending, Status::Queued, Status::Running, Status::Failed, Status::Killed, Status::Done] {
            if let Some(found) = self.rows(&[self.queue], &status, Some(id), &one).await?.pop() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

impl Metrics for Rows {
    async fn global(&self) -> Result<Vec<Statistic>, RowsError> {
        let all = self.counts(&QUEUES).await?;
        let sum = |of: fn(&Counts) -> i64| all.iter().map(of).sum();
        let total = Counts {
            queue: String::new(),
            pending: sum(|one| one.pending),
            running: sum(|one| one.running),
            queued: sum(|one| one.queued),
            dead: sum(|one| one.dead),
            failed: sum(|one| one.failed),
        };
        Ok(total.statistics())
    }

    async fn fetch_by_queue(&self) -> Result<Vec<Statistic>, RowsError> {
        Ok(self.counts(&[self.queue]).await?.first().map(Counts::statistics).unwrap_or_default())
    }
}

impl ListWorkers for Rows {
    async fn list_workers(&self) -> Result<Vec<RunningWorker>, RowsError> {
        self.workers(matches!(self.queue, Queue::INBOX | Queue::RUNS)).await
    }

    async fn list_all_workers(&self) -> Result<Vec<RunningWorker>, RowsError> {
        self.workers(true).await
    }
}

impl ListQueues for Rows {
    async fn list_queues(&self) -> Result<Vec<QueueInfo>, RowsError> {
        let workers = self.workers(true).await?;
        let names = |queue: &str| {
            workers.iter().filter(|worker| worker.queue == queue).map(|worker| worker.id.clone()).collect()
        };
        let counts = self.counts(&QUEUES).await?;
        Ok(counts
            .iter()
            .map(|one| QueueInfo {
                name: one.queue.clone(),
                stats: one.statistics(),
                workers: names(&one.queue),
                activity: Vec::new(),
            })
            .collect())
    }
}
