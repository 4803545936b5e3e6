//! Integration tests of the way in.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod books;
#[cfg(feature = "rdkafka")]
mod broker;
mod business_dates;
mod delivery;
mod feed;
mod fhir;
mod gateway;
mod held;
mod kafka_hostile;
mod kafka_limits;
mod kafka_names;
mod kafka_round_trip;
mod landing;
mod landing_rules;
mod log_basics;
mod log_crash;
mod postgres;
#[path = "../../../lake/tests/it/postgres_server.rs"]
mod postgres_server;
mod records;
mod support;
