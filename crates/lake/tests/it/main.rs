//! Integration tests of the lake, in one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

mod books;
mod clean_up;
mod commits;
mod control;
mod correct;
mod delta_compact;
mod delta_fixture;
mod delta_foreign;
mod delta_golden;
mod delta_log;
mod delta_spark;
mod delta_speed;
mod delta_stats;
mod delta_unsynced;
#[path = "../../../runtime/src/azure/double.rs"]
mod double;
mod journal;
mod keyed;
mod postgres_server;
mod pruning;
mod publish;
mod replay;
mod replay_staged;
mod table;
mod unruly;
