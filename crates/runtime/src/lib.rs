//! The process kit: configuration, clock, durable files, retry, shutdown, telemetry names. No domain.

pub mod azure;
pub mod clock;
pub mod config;
pub mod cpu;
pub mod disk;
pub mod error;
pub mod events;
pub mod health;
pub mod hex;
pub mod http;
pub mod lock;
pub mod retry;
pub mod shutdown;
pub mod steps;
pub mod telemetry;
