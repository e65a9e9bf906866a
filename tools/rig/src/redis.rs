//! A throw-away Redis that loses nothing it answered, and its streams as they stand.

use std::collections::HashMap;
use std::path::PathBuf;

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use serde_json::Value;

use crate::authority::Authority;
use crate::process::{Process, Spec};
use crate::run_dir::RunDir;
use crate::wait::SOON;
use crate::{ports, process, wait};

/// A Redis of its own on a free loopback port, append-only file with fsync at every write.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    port: u16,
    _dir: RunDir,
}

/// One entry of a stream.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The stream's id, `<milliseconds>-<sequence>`.
    pub id: String,
    /// Its field `data`: the CloudEvent's bytes, or a raw payload's.
    pub data: Vec<u8>,
    /// The bytes as JSON; null when they are none.
    pub event: Value,
}

impl Entry {
    /// The CloudEvent's id; empty when it has none.
    pub fn event_id(&self) -> &str {
        self.event["id"].as_str().unwrap_or_default()
    }

    /// A field of the CloudEvent's data as text; empty when it has none.
    pub fn field(&self, name: &str) -> &str {
        self.event["data"][name].as_str().unwrap_or_default()
    }
}

impl Redis {
    /// Starts it and waits until it answers.
    pub async fn start() -> Redis {
        Redis::start_with(&[]).await
    }

    /// The same, and on the port returned it speaks TLS, with a certificate that `authority` has signed for `names`; there is a
    /// user `watcher` besides with the password `secret`.
    pub async fn start_tls(authority: &Authority, names: &[&str]) -> (Redis, u16) {
        let (cert, key) = authority.sign_to_files(names);
        let port = ports::free();
        let more = [
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &cert.to_string_lossy(),
            "--tls-key-file",
            &key.to_string_lossy(),
            "--tls-ca-cert-file",
            &authority.file().to_string_lossy(),
            "--tls-auth-clients",
            "no",
            "--user",
            "watcher",
            "on",
            ">secret",
            "~*",
            "&*",
            "+@all",
        ]
        .map(str::to_owned);
        (Redis::start_with(&more).await, port)
    }

    /// A node of a cluster of two that holds no key: it names the other one (MOVED) for every stream. Returns that one too.
    pub async fn start_cluster() -> [Redis; 2] {
        let more = ["--cluster-enabled", "yes"].map(str::to_owned);
        let [node, holder] = [Redis::start_with(&more).await, Redis::start_with(&more).await];
        let slots = redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16_383).to_owned();
        slots.query_async::<()>(&mut holder.connect().await.unwrap()).await.unwrap();
        let mut connection = node.connect().await.unwrap();
        let meet = redis::cmd("CLUSTER").arg("MEET").arg("127.0.0.1").arg(holder.port).to_owned();
        meet.query_async::<()>(&mut connection).await.unwrap();
        let knows = async || {
            let info: String =
                redis::cmd("CLUSTER").arg("INFO").query_async(&mut node.connect().await.unwrap()).await.unwrap();
            info.contains("cluster_state:ok")
        };
        wait::until("the cluster to be one", SOON, knows).await;
        [node, holder]
    }

    async fn start_with(more: &[String]) -> Redis {
        let dir = RunDir::new("redis");
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let port = ports::free();
        let args = [
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--dir",
            &data.to_string_lossy(),
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
            "--daemonize",
            "no",
        ]
        .map(str::to_owned);
        let args = args.into_iter().chain(more.iter().cloned());
        let process = Process::spawn(Spec::new("redis", &binary(), dir.path(), args));
        let redis = Redis { process, port, _dir: dir };
        redis.wait_ready().await;
        redis
    }

    /// `127.0.0.1:<port>`, as REDIS_ADDR and the component's redisHost want it.
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `redis://127.0.0.1:<port>/`.
    pub fn url(&self) -> String {
        format!("redis://{}/", self.addr())
    }

    /// SIGKILL, then starts it again on its port with its data.
    pub async fn restart(&self) {
        self.stop();
        self.start_again().await;
    }

    /// SIGKILL. Clients get refused connections until [`start_again`](Redis::start_again).
    pub fn stop(&self) {
        self.process.kill9();
    }

    /// Starts it on its port with its data and waits until it answers.
    pub async fn start_again(&self) {
        self.process.restart();
        self.wait_ready().await;
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its version, for example `7.0.15`.
    pub async fn version(&self) -> String {
        let info: String =
            redis::cmd("INFO").arg("server").query_async(&mut self.connect().await.unwrap()).await.unwrap();
        info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or_default().to_owned()
    }

    /// A connection, for commands of a test's own.
    pub async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        redis::Client::open(self.url())?.get_multiplexed_async_connection().await
    }

    /// The whole stream of a topic, oldest first; empty when there is none.
    pub async fn stream(&self, topic: &str) -> Vec<Entry> {
        let mut connection = self.connect().await.unwrap();
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let from = entries.last().map_or("-".to_owned(), |last| format!("({}", last.id));
            let page: Vec<(String, HashMap<String, Vec<u8>>)> = redis::cmd("XRANGE")
                .arg(topic)
                .arg(from)
                .arg("+")
                .arg("COUNT")
                .arg(1000)
                .query_async(&mut connection)
                .await
                .unwrap();
            if page.is_empty() {
                return entries;
            }
            entries.extend(page.into_iter().map(|(id, mut fields)| {
                let data = fields.remove("data").unwrap_or_default();
                Entry { id, event: serde_json::from_slice(&data).unwrap_or_default(), data }
            }));
        }
    }

    /// How many entries the stream of a topic has: cheap enough to poll.
    pub async fn stream_len(&self, topic: &str) -> usize {
        redis::cmd("XLEN").arg(topic).query_async(&mut self.connect().await.unwrap()).await.unwrap()
    }

    /// How many entries were delivered to a consumer group (an app id) and not yet acknowledged; nothing when it has no such group.
    pub async fn pending(&self, topic: &str, group: &str) -> Option<usize> {
        let mut connection = self.connect().await.unwrap();
        let summary: RedisResult<(usize, redis::Value, redis::Value, redis::Value)> =
            redis::cmd("XPENDING").arg(topic).arg(group).query_async(&mut connection).await;
        summary.ok().map(|(count, ..)| count)
    }

    /// How many entries a consumer group (an app id) has not acknowledged: those that were delivered, and those that still will be.
    pub async fn unfinished(&self, topic: &str, group: &str) -> usize {
        let mut connection = self.connect().await.unwrap();
        let groups: RedisResult<Vec<HashMap<String, redis::Value>>> =
            redis::cmd("XINFO").arg("GROUPS").arg(topic).query_async(&mut connection).await;
        let of = |group: &HashMap<String, redis::Value>, key: &str| {
            group.get(key).and_then(|value| redis::from_redis_value_ref::<String>(value).ok()).unwrap_or_default()
        };
        let groups = groups.unwrap_or_default();
        let Some(group) = groups.iter().find(|one| of(one, "name") == group) else {
            return self.stream_len(topic).await;
        };
        // Unknown (null) before Redis 7, and after an entry was deleted.
        let ahead = match of(group, "lag").parse::<usize>() {
            Ok(lag) => lag,
            Err(_) => {
                let last = format!("({}", of(group, "last-delivered-id"));
                let ahead: Vec<redis::Value> =
                    redis::cmd("XRANGE").arg(topic).arg(last).arg("+").query_async(&mut connection).await.unwrap();
                ahead.len()
            }
        };
        of(group, "pending").parse::<usize>().unwrap() + ahead
    }

    async fn wait_ready(&self) {
        wait::until_or(
            "Redis to answer",
            SOON,
            || self.process.log_tail(),
            async || {
                assert!(self.process.is_running(), "Redis ended\n{}", self.process.log_tail());
                let Ok(mut connection) = self.connect().await else {
                    return false;
                };
                redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
            },
        )
        .await;
    }
}

fn binary() -> PathBuf {
    process::on_path("redis-server").expect("no redis-server on PATH: run `make setup`")
}
