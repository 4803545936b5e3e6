//! The way in: the Kafka endpoint and its durable log, decoders, landing, deliveries, feeds.

pub mod decode;
pub mod delivery;
pub mod feed;
pub mod gateway;
pub mod headers;
pub mod kafka;
pub mod landing;
pub mod log;
pub mod murmur2;
pub mod postgres;
pub mod replay;
pub mod source;
