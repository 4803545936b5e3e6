//! The way out: sessions with policy, Druid's SQL over HTTP, health, status and metrics.
//!
//! A request comes in by `http`, is read by `druid::request`, runs through `session`, and leaves by `druid::result`.

pub mod audit;
pub mod catalogue;
pub mod console;
pub mod dialect;
pub mod druid;
pub mod druid_engine;
pub mod engine;
pub mod error;
pub mod evidence;
pub mod flight;
pub mod functions;
mod grouping;
pub mod http;
pub mod identity;
pub mod ingest;
mod memory;
pub mod names;
pub mod pinned;
mod plan;
pub mod platform;
pub mod policy;
pub mod postgres;
pub mod quarantine;
mod running;
pub mod session;
pub mod sql;
pub mod superset;
pub mod surface;
pub mod tls;
mod turns;
