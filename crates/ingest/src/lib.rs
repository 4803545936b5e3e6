//! The way in: the Kafka endpoint and its durable log.

pub mod kafka;
pub mod log;
