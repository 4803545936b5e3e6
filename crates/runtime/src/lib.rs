//! The process kit: configuration, clock, durable files, retry, shutdown, telemetry names. No domain.

pub mod config;
pub mod disk;
pub mod error;
