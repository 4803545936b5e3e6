//! The vitalake binary: the command line, and the wiring of the other crates into one process.
//!
//! `cli` says what can be asked, `command` does it, `client` talks to a running server, `simulate` makes wearers.
//! Invariant: an exit status means the same for every command (see [`failure`]).

// With every part the futures nest deeper than the compiler follows by itself, as it only does in the release profile.
#![recursion_limit = "256"]

pub mod azure;
pub mod cli;
pub mod client;
pub mod command;
pub mod failure;
pub mod functions;
pub mod local;
pub mod output;
mod panics;
pub mod platform;
pub mod simulate;
pub mod table;

use std::process::ExitCode;

use clap::Parser as _;

/// Reads the command line, runs the command and gives the process's exit status.
#[must_use]
pub fn main() -> ExitCode {
    panics::say_the_place_alone();
    let cli = cli::Cli::parse();
    match command::run(cli.command) {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}
