//! How a stand-in answers: switchable at any time, for all calls or for chosen ones.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tonic::{Code, Status};

/// What becomes of a call.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Answered at once.
    Answer,
    /// Never answered: the caller's deadline has to end it.
    Hang,
    /// Refused with this code.
    Refuse(Code),
    /// Refused with a status of the caller's making: message and details too.
    RefuseWith(Status),
    /// Every n-th call is refused as Unavailable.
    Flap(u64),
    /// Answered after this time.
    Slow(Duration),
    /// Answered once the gate is open.
    Held(Gate),
}

/// Holds the calls that come to it until it is opened, and none from then on. Clones are one gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed one.
    #[expect(clippy::new_without_default, reason = "nothing says whether a default one is open")]
    pub fn new() -> Gate {
        Gate(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everybody through.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn passed(&self) {
        // The sender is this very gate's.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// The behaviour of all calls, and the exceptions by key (a reservation id, an order id).
#[derive(Clone, Debug)]
pub struct Behaviours(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    all: RwLock<Behaviour>,
    by_key: RwLock<HashMap<String, Behaviour>>,
    calls: AtomicU64,
}

impl Default for Behaviours {
    fn default() -> Behaviours {
        Behaviours(Arc::new(Inner {
            all: RwLock::new(Behaviour::Answer),
            by_key: RwLock::default(),
            calls: AtomicU64::new(0),
        }))
    }
}

impl Behaviours {
    /// From now on all calls without an exception behave so. Calls that hang already go on hanging.
    pub fn set(&self, behaviour: Behaviour) {
        *self.0.all.write().unwrap() = behaviour;
    }

    /// From now on calls for this key behave so, whatever the others do.
    pub fn set_for(&self, key: impl Into<String>, behaviour: Behaviour) {
        self.0.by_key.write().unwrap().insert(key.into(), behaviour);
    }

    /// Takes all exceptions back.
    pub fn clear(&self) {
        self.0.by_key.write().unwrap().clear();
    }

    /// Behaves; `key` is only asked for when there are exceptions.
    pub(crate) async fn act(&self, key: impl FnOnce() -> Option<String>) -> Result<(), Status> {
        match self.choose(key) {
            Behaviour::Answer => Ok(()),
            Behaviour::Hang => std::future::pending().await,
            Behaviour::Refuse(code) => Err(Status::new(code, "the stand-in was told to refuse")),
            Behaviour::RefuseWith(status) => Err(status),
            Behaviour::Flap(n) => match (self.0.calls.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(n) {
                true => Err(Status::unavailable("the stand-in was told to flap")),
                false => Ok(()),
            },
            Behaviour::Slow(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Behaviour::Held(gate) => {
                gate.passed().await;
                Ok(())
            }
        }
    }

    fn choose(&self, key: impl FnOnce() -> Option<String>) -> Behaviour {
        let by_key = self.0.by_key.read().unwrap();
        if !by_key.is_empty()
            && let Some(behaviour) = key().and_then(|key| by_key.get(&key).cloned())
        {
            return behaviour;
        }
        self.0.all.read().unwrap().clone()
    }
}
