//! One suite for two engines: the same expressions, groups and models over the same edges, on DataFusion as models run and on
//! a real Spark 4.2 at `VITALAKE_SPARK=sc://…`, compared as Arrow with types; skipped without one.
//!
//! `VITALAKE_CONFORMANCE_REPORT=FILE` writes what differs, and what one of the two refuses. Invariant: an answer counts as
//! Spark's only with a mark that only Spark can make.

mod ask;
mod calls;
mod compare;
mod data;
mod functions;
mod known;
mod models;
mod nested;
mod nests;
mod recorded;

fn write_report(what: &str, text: &str) {
    if let Ok(path) = std::env::var("VITALAKE_CONFORMANCE_REPORT") {
        std::fs::write(format!("{path}.{what}"), text).unwrap();
    }
}
