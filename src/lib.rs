//! order-worker: a durable outbox/inbox transactional worker.
