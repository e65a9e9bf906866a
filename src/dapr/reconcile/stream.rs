//! A stream of the broker, read and never written.

use std::collections::HashMap;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value, from_redis_value_ref};

use super::Id;

/// Entries of one XRANGE: what is in memory at once, and an entry can be as large as a message.
const PAGE: usize = 32;
/// Pending entries of one XPENDING.
const PENDING: usize = 10_000;

/// A stream as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// Whether there is one.
    pub exists: bool,
    /// Entries in it.
    pub length: u64,
    /// The oldest of them.
    pub first: Option<Id>,
    /// The last that was ever added.
    pub last_id: Id,
    /// Entries ever added, where Redis tells it (7 and newer).
    pub entries_added: Option<u64>,
    /// The last entry that somebody deleted by its id (XDEL), where Redis tells it (7 and newer).
    pub last_deleted: Option<Id>,
    /// The worker's group.
    pub group: Option<Group>,
    /// The names of the groups that there are.
    pub groups: Vec<String>,
}

/// The worker's group on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The last entry that it was given.
    pub last_delivered: Id,
    /// The oldest that it was given and has not acknowledged.
    pub oldest_pending: Option<Id>,
}

impl Group {
    /// The last entry up to which it has acknowledged everything.
    pub(super) fn reached(&self) -> Id {
        self.oldest_pending.map_or(self.last_delivered, |oldest| oldest.previous().min(self.last_delivered))
    }
}

/// An entry: the message as it was published.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: Id,
    pub(super) data: Vec<u8>,
}

type Fields = HashMap<String, Value>;

fn number(fields: &Fields, name: &str) -> Option<u64> {
    fields.get(name).and_then(|value| from_redis_value_ref(value).ok())
}

fn text(fields: &Fields, name: &str) -> Option<String> {
    fields.get(name).and_then(|value| from_redis_value_ref(value).ok())
}

fn id(fields: &Fields, name: &str) -> Option<Id> {
    text(fields, name)?.parse().ok()
}

/// The state of a stream.
pub(super) async fn state(
    connection: &mut MultiplexedConnection,
    topic: &str,
    group: &str,
) -> Result<Stream, RedisError> {
    let exists: bool = redis::cmd("EXISTS").arg(topic).query_async(connection).await?;
    if !exists {
        return Ok(Stream::default());
    }
    let fields: Fields = redis::cmd("XINFO").arg("STREAM").arg(topic).query_async(connection).await?;
    let groups: Vec<Fields> = redis::cmd("XINFO").arg("GROUPS").arg(topic).query_async(connection).await?;
    let ours = groups.iter().find(|one| text(one, "name").as_deref() == Some(group));
    let names = groups.iter().filter_map(|one| text(one, "name")).collect();
    let group = match ours {
        Some(ours) => Some(Group {
            last_delivered: id(ours, "last-delivered-id").unwrap_or_default(),
            oldest_pending: pending(connection, topic, group, 1).await?.first().copied(),
        }),
        None => None,
    };
    // [id, [field, value, …]], or nil of an empty stream.
    let first = fields.get("first-entry").and_then(|entry| from_redis_value_ref::<(String, Value)>(entry).ok());
    Ok(Stream {
        exists,
        length: number(&fields, "length").unwrap_or(0),
        first: first.and_then(|(id, _)| id.parse().ok()),
        last_id: id(&fields, "last-generated-id").unwrap_or_default(),
        entries_added: number(&fields, "entries-added"),
        last_deleted: id(&fields, "max-deleted-entry-id").filter(|id| *id > Id::default()),
        group,
        groups: names,
    })
}

/// The oldest entries that the group was given and has not acknowledged.
async fn pending(
    connection: &mut MultiplexedConnection,
    topic: &str,
    group: &str,
    count: usize,
) -> Result<Vec<Id>, RedisError> {
    let mut command = redis::cmd("XPENDING");
    let rows: Vec<(String, String, u64, u64)> =
        command.arg(topic).arg(group).arg("-").arg("+").arg(count).query_async(connection).await?;
    Ok(rows.iter().filter_map(|(id, ..)| id.parse().ok()).collect())
}

/// All of them; and where there are too many to be read, up to which entry these are all.
pub(super) async fn all_pending(
    connection: &mut MultiplexedConnection,
    topic: &str,
    group: &str,
) -> Result<(Vec<Id>, Option<Id>), RedisError> {
    let ids = pending(connection, topic, group, PENDING).await?;
    let end = if ids.len() < PENDING { None } else { ids.last().copied() };
    Ok((ids, end))
}

/// A page of entries from one id on, up to another.
pub(super) async fn page(
    connection: &mut MultiplexedConnection,
    topic: &str,
    from: Id,
    until: Id,
) -> Result<(Vec<Entry>, bool), RedisError> {
    let mut command = redis::cmd("XRANGE");
    let rows: Vec<(String, HashMap<String, Vec<u8>>)> = command
        .arg(topic)
        .arg(from.to_string())
        .arg(until.to_string())
        .arg("COUNT")
        .arg(PAGE)
        .query_async(connection)
        .await?;
    let last = rows.len() < PAGE;
    let entries = rows.into_iter().filter_map(|(id, mut fields)| {
        Some(Entry { id: id.parse().ok()?, data: fields.remove("data").unwrap_or_default() })
    });
    Ok((entries.collect(), last))
}

/// The number of entries after one id, up to another.
pub(super) async fn count(
    connection: &mut MultiplexedConnection,
    stream: &str,
    behind: Id,
    until: Id,
) -> Result<u64, RedisError> {
    let (mut from, mut counted) = (behind.next(), 0);
    loop {
        let (entries, last) = page(connection, stream, from, until).await?;
        counted += entries.len() as u64;
        match entries.last() {
            Some(end) if !last => from = end.id.next(),
            _ => return Ok(counted),
        }
    }
}

/// Whether an entry is there.
pub(super) async fn has(connection: &mut MultiplexedConnection, topic: &str, id: Id) -> Result<bool, RedisError> {
    let (entries, _) = page(connection, topic, id, id).await?;
    Ok(!entries.is_empty())
}

/// The Redis that answers.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// Its process.
    pub(super) run_id: Option<String>,
    /// Whether it follows another: what it has may be older than what was published.
    pub(super) is_replica: bool,
    /// Whether it keeps an append-only file: one that was started again has what it had before.
    pub(super) keeps_all: bool,
    /// Its clock in milliseconds of Unix time.
    pub(super) now: u64,
}

pub(super) async fn server(connection: &mut MultiplexedConnection) -> Result<Server, RedisError> {
    let info: String = redis::cmd("INFO").arg("server").query_async(connection).await?;
    let replication: String = redis::cmd("INFO").arg("replication").query_async(connection).await?;
    let persistence: String = redis::cmd("INFO").arg("persistence").query_async(connection).await?;
    let of = |info: &str, name: &str| info.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(connection).await?;
    Ok(Server {
        run_id: of(&info, "run_id:"),
        is_replica: of(&replication, "role:").is_some_and(|role| role != "master"),
        keeps_all: of(&persistence, "aof_enabled:").is_some_and(|enabled| enabled == "1"),
        now: seconds * 1_000 + micros / 1_000,
    })
}
