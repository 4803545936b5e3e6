//! Tests of models from the outside: text in, problems, plans and rows out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs, clippy::print_stdout)]

mod append;
mod breaking;
#[cfg(feature = "spark")]
mod conformance;
mod corpus;
mod corrected;
mod decisions;
mod extremes;
mod full;
mod gates;
mod goes_on;
mod graph;
mod groups;
mod measured;
mod model;
mod on_spark;
mod rebuild;
mod replay;
mod replica;
mod rollup;
mod run;
mod set_rules;
mod support;
mod upsert;
mod upsert_faults;
mod validate;
