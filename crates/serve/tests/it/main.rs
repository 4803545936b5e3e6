//! The endpoint over a real socket: Druid's recorded answers, limits, cancel, and who may ask.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod api;
mod client;
mod consents;
mod console;
mod corpus;
mod decisions;
mod druid_engine;
mod extremes;
mod golden;
mod ingest;
mod lake;
mod limits;
mod matrix;
mod pg_client;
mod policies;
mod postgres;
mod postgres_catalogue;
mod postgres_policies;
mod pydruid;
mod query;
mod server;
mod sql;
mod superset;
mod superset_double;
mod tiny;
mod uploads;
mod vitals;
