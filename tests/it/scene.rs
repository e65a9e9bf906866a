//! The usual scene of a test: a worker between stand-ins, its database with orders, and a caller in its sidecar's place.

use std::time::{Duration, Instant};

use rig::callback::{Answer, Callback, Event};
use rig::payment::{CONFIRMED, confirmed, json};
use rig::stack::Direct;
use rig::wait;
use rig::worker::{Worker, WorkerSpec};
use tonic::Code;

use crate::main_path::WORKER;
use crate::shop::Shop;

pub use rig::wait::SOON;

#[derive(Debug)]
pub struct Scene {
    pub callback: Callback,
    pub worker: Worker,
    pub shop: Shop,
    /// The stand-ins around it, and how it was started.
    pub direct: Direct,
}

impl Scene {
    pub async fn start(name: &str) -> Scene {
        Scene::start_with(name, |spec| spec).await
    }

    /// The same with a change to what is started.
    pub async fn start_with(name: &str, change: impl FnOnce(WorkerSpec) -> WorkerSpec) -> Scene {
        let mut direct = Direct::start(name, WORKER).await;
        direct.worker = change(direct.worker);
        let shop = Shop::open(&direct.worker.database_url).await;
        let (worker, callback) = direct.worker().await;
        Scene { callback, worker, shop, direct }
    }

    /// Hands an event to the worker, which has to take it: again where it had no time for it, as a sidecar does.
    #[track_caller]
    pub fn deliver(&self, event: &Event) -> impl Future<Output = ()> {
        let taken = async || match self.callback.event(event).await {
            Err(status) if status.code() == Code::Unavailable => false,
            answer => {
                assert_eq!(answer.ok(), Some(Answer::Success), "{}", self.worker.log_tail());
                true
            }
        };
        wait::until_or("the event to be taken", SOON, || self.worker.log_tail(), taken)
    }

    /// Hands over a confirmed payment of 10.10 USD under this event id.
    pub async fn confirm(&self, event_id: &str, payment_id: &str, order_id: &str) {
        self.deliver(&confirmation(event_id, payment_id, order_id)).await;
    }

    /// As [`witness`] for this scene.
    pub async fn witness(&self) {
        witness(&self.shop, &self.callback).await;
    }

    /// Pays these orders one after the other; how long it took until so many announcements were there.
    pub async fn pay_until(&self, orders: &[String], announced: usize) -> Duration {
        let began = Instant::now();
        for order in orders {
            self.confirm(&format!("e-{order}"), &format!("p-{order}"), order).await;
        }
        let all = async || self.direct.sidecar.count() >= announced;
        wait::until_or("all to be announced", SOON, || self.worker.log_tail(), all).await;
        began.elapsed()
    }

    /// Outcome and reason of the one event that has this id.
    pub async fn outcome(&self, event_id: &str) -> (String, String) {
        let mut outcomes = self.shop.outcomes(event_id).await;
        assert_eq!(outcomes.len(), 1, "{event_id}: {outcomes:?}");
        let (outcome, reason) = outcomes.remove(0);
        (outcome, reason.unwrap_or_default())
    }

    /// Waits until everything is done that can be.
    pub async fn settled(&self) {
        self.shop.settled(SOON).await;
    }
}

/// Places an order and pays it: what gets through while something else fails. A failure counts only when others got through after
/// it, so that a test which waits for one to count brings them again and again.
pub async fn witness(shop: &Shop, callback: &Callback) {
    let name = format!("witness-{}", shop.count("select count(*) from orders").await);
    shop.place_one(&name).await;
    callback.event(&confirmation(&name, &name, &name)).await.unwrap();
}

/// The same work was not held up while a fault lasted, whatever this machine did besides: who is held up waits for as long as it lasts.
#[track_caller]
pub fn assert_not_held_up(without: Duration, with: Duration) {
    assert!(with < without * 8 + Duration::from_secs(20), "{without:?} when nothing is wrong, then {with:?}");
}

/// A worker whose death is noticed soon: leases of two seconds.
pub fn short_leases(spec: WorkerSpec) -> WorkerSpec {
    spec.env("ORDER_WORKER_QUEUE_LEASE", "2s").env("ORDER_WORKER_DATABASE_IDLEINTRANSACTIONTIMEOUT", "1s")
}

/// A confirmed payment of 10.10 USD under this event id.
pub fn confirmation(event_id: &str, payment_id: &str, order_id: &str) -> Event {
    Event::new(CONFIRMED, event_id, json(&confirmed(payment_id, order_id, "10.10")))
}
