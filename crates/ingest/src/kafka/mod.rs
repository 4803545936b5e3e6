//! The Kafka endpoint.
