//! The Kafka endpoint: frames from any Kafka client, answered from the log.
//!
//! Flow: [`server`](KafkaServer) accepts → `connection` reads frames and answers them in order → `api` decodes one
//! request and acts on the log. Requests are decoded by `wire`, which believes no length and no count beyond the bytes
//! that are there; answers, which hold only what we know, are encoded by the `kafka-protocol` crate.

mod api;
pub mod client;
mod connection;
mod error;
mod frame;
mod guard;
mod memory;
mod newcomers;
mod options;
mod server;
mod wire;

pub use guard::{Doors, Proof, Rights, Secure, Secured, Step, Stream};
pub use options::KafkaOptions;
pub use server::KafkaServer;
