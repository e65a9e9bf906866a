//! A stand-in of the warehouse service (proto/warehouse/v1) with a book of every call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::behaviour::{Behaviour, Behaviours};
use crate::server::Server;

/// The generated protocol: the server that this stand-in is, and a client to try it with.
pub mod proto {
    tonic::include_proto!("warehouse.v1");
}

use proto::warehouse_service_server::{WarehouseService, WarehouseServiceServer};
use proto::{
    ConfirmReservationRequest, ConfirmReservationResponse, ReleaseReservationRequest, ReleaseReservationResponse,
};

/// Which of the two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// ConfirmReservation.
    Confirm,
    /// ReleaseReservation.
    Release,
}

/// One call as it arrived.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which of the two.
    pub method: Method,
    /// The reservation.
    pub reservation_id: String,
    /// The reason of a release; empty for a confirmation.
    pub reason: String,
    /// Metadata `idempotency-key`.
    pub idempotency_key: Option<String>,
    /// Metadata `traceparent`.
    pub traceparent: Option<String>,
    /// Metadata `tracestate`.
    pub tracestate: Option<String>,
    /// When it arrived.
    pub at: SystemTime,
    /// Whether it was answered with success.
    pub answered: bool,
}

/// What one idempotency key did to the stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The reservation.
    pub reservation_id: String,
    /// How many calls with this key were answered with success; the warehouse acts on the first.
    pub times: usize,
}

/// The stand-in and its book.
#[derive(Debug)]
pub struct Warehouse {
    server: Server,
    shelf: Shelf,
}

#[derive(Clone, Debug, Default)]
struct Shelf {
    behaviours: Behaviours,
    book: Arc<Mutex<Vec<Call>>>,
}

impl Warehouse {
    /// Starts it on a free loopback port; it answers until told otherwise.
    pub fn start() -> Warehouse {
        let shelf = Shelf::default();
        let server = Server::start(Routes::new(WarehouseServiceServer::new(shelf.clone())));
        Warehouse { server, shelf }
    }

    /// `127.0.0.1:<port>`, as ORDER_EXTERNALSERVICES_WAREHOUSESERVICE_GRPCENDPOINT wants it.
    pub fn addr(&self) -> String {
        self.server.addr()
    }

    /// How it answers from now on; see also [`Behaviours::set_for`] with a reservation id.
    pub fn behaviours(&self) -> &Behaviours {
        &self.shelf.behaviours
    }

    /// How it answers from now on, every call.
    pub fn set(&self, behaviour: Behaviour) {
        self.shelf.behaviours.set(behaviour);
    }

    /// Goes away: connections are dropped, new ones refused. The book is kept.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Comes back on the same port.
    pub fn start_again(&self) {
        self.server.start_again();
    }

    /// Every call in order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.shelf.book.lock().unwrap().clone()
    }

    /// What was confirmed, by idempotency key (by reservation for calls without one).
    pub fn confirmed(&self) -> BTreeMap<String, Effect> {
        self.effects(Method::Confirm)
    }

    /// What was released, by idempotency key (by reservation for calls without one).
    pub fn released(&self) -> BTreeMap<String, Effect> {
        self.effects(Method::Release)
    }

    fn effects(&self, method: Method) -> BTreeMap<String, Effect> {
        let mut effects = BTreeMap::new();
        for call in self.shelf.book.lock().unwrap().iter().filter(|call| call.answered && call.method == method) {
            let key = call.idempotency_key.as_ref().unwrap_or(&call.reservation_id).clone();
            let effect =
                effects.entry(key).or_insert_with(|| Effect { reservation_id: call.reservation_id.clone(), times: 0 });
            effect.times += 1;
        }
        effects
    }
}

impl Shelf {
    async fn take<T>(&self, method: Method, request: &Request<T>, id: &str, reason: &str) -> Result<(), Status> {
        let text = |key| request.metadata().get(key).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let call = Call {
            method,
            reservation_id: id.to_owned(),
            reason: reason.to_owned(),
            idempotency_key: text("idempotency-key"),
            traceparent: text("traceparent"),
            tracestate: text("tracestate"),
            at: SystemTime::now(),
            answered: false,
        };
        let place = {
            let mut book = self.book.lock().unwrap();
            book.push(call);
            book.len() - 1
        };
        self.behaviours.act(|| Some(id.to_owned())).await?;
        self.book.lock().unwrap()[place].answered = true;
        Ok(())
    }
}

#[tonic::async_trait]
impl WarehouseService for Shelf {
    async fn confirm_reservation(
        &self,
        request: Request<ConfirmReservationRequest>,
    ) -> Result<Response<ConfirmReservationResponse>, Status> {
        self.take(Method::Confirm, &request, &request.get_ref().reservation_id, "").await?;
        Ok(Response::new(ConfirmReservationResponse {}))
    }

    async fn release_reservation(
        &self,
        request: Request<ReleaseReservationRequest>,
    ) -> Result<Response<ReleaseReservationResponse>, Status> {
        let body = request.get_ref();
        self.take(Method::Release, &request, &body.reservation_id, &body.reason).await?;
        Ok(Response::new(ReleaseReservationResponse {}))
    }
}
