//! Watching it: what the platform says about itself. Holds no HTTP: `serve` puts these types on the wire.

pub mod alerts;
pub mod audit;
pub mod books;
pub mod deliveries;
#[cfg(test)]
#[path = "../../runtime/src/azure/double.rs"]
mod double;
pub mod druid;
pub mod erasures;
pub mod feeds;
pub mod gates;
pub mod metrics;
pub mod monitor;
pub mod openlineage;
pub mod quarantine;
pub mod record;
pub mod runbooks;
pub mod signing;
pub mod status;
pub mod tables;
pub mod telemetry;
