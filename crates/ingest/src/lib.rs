//! The way in: the Kafka endpoint and its durable log, decoders, landing.

pub mod decode;
pub mod kafka;
pub mod log;
