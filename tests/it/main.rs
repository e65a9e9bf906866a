//! Behaviour of the whole program, from outside, on real Postgres, Redis and daprd.

#![allow(clippy::unwrap_used, clippy::float_cmp, missing_docs, reason = "a test that panics has said what is wrong")]

mod adoption;
mod awaited;
mod board;
mod browser;
mod chart;
mod cli;
mod collector;
mod commands;
mod console;
mod crashes;
mod cron;
mod cron_chaos;
mod dead_letters;
mod discovery;
mod doctor;
mod entrance;
mod health;
mod incidents;
mod ingress;
mod large;
mod life;
mod lifecycle;
mod main_path;
mod migrations;
mod operations;
mod order_service;
mod otlp;
mod outages;
mod partitions;
mod poison;
mod publisher;
mod reconcile;
mod replay;
mod replicas;
mod roles;
mod runbook;
mod scene;
mod secrets;
mod shop;
mod streams;
mod tls;
mod tls_front;
mod traces;
mod word;
