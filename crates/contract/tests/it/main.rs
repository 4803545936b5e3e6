//! Integration tests of the contract crate, one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod compiled;
mod fhir_suite;
mod fhir_views;
mod findings;
mod hostile;
mod projects;
mod quality;
mod shared;
mod snapshots;
mod verdicts;
