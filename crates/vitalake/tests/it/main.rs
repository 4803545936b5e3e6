//! Integration tests of the binary: what a user sees, and what the simulator sends.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod broker;
mod command_line;
mod events;
mod folders;
mod full_disk;
mod kills;
mod producer;
mod rehearsal;
mod rules;
mod simulation;
mod spine;
mod tables;
