//! What production is made of, on the real software: `make test-production` builds what is needed and runs it.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test that panics has said what is wrong")]

mod chart;
mod collector;
mod compatibility;
mod dashboard;
mod deploy;
mod image;
mod stopping;
mod supply;
