//! Behaviour of the whole program, from outside, on real Postgres, Redis and daprd.

#![allow(clippy::unwrap_used, clippy::float_cmp, missing_docs, reason = "a test that panics has said what is wrong")]

mod cli;
mod health;
mod main_path;
mod poison;
mod scene;
mod shop;
