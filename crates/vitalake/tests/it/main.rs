//! Integration tests of the binary: what a user sees, and what the simulator sends.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod access;
mod alerts;
mod audits;
mod broker;
mod clinic;
mod command_line;
mod console;
mod control;
mod day_by_day;
mod deliveries;
mod discards;
#[path = "../../../runtime/src/azure/double.rs"]
mod double;
mod erase;
mod events;
mod feeds;
mod feeds_postgres;
mod feeds_shared;
mod folders;
mod full_disk;
mod gates;
mod gates_corrected;
mod held;
mod identities;
mod import;
mod incidents;
mod ingest_http;
mod init;
mod kills;
mod leaks;
mod lives;
mod metrics;
mod monitor;
mod not_well;
mod postgres;
#[path = "../../../lake/tests/it/postgres_server.rs"]
mod postgres_server;
mod producer;
mod quarantine;
mod real_druid;
mod rehearsal;
mod roles;
mod rules;
mod runbooks;
mod secrets;
mod simulation;
mod spine;
mod tables;
mod unopened;

/// The binary under test: the one that VITALAKE_BIN names, such as a release build, else the one built with the tests.
fn binary() -> std::path::PathBuf {
    std::env::var_os("VITALAKE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_vitalake").into(), Into::into)
}
