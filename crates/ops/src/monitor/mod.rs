//! The ops datasets in a workspace of Log Analytics, by the Logs Ingestion API.
//!
//! `schema` says what a workspace has of them, `rows` makes objects of rows, `client` sends them, `sender` goes on from the
//! `place` that was reached, `said` is what is known of it. Invariant: what is sent follows from the contracts of the ops
//! datasets, and holds no person and no value.

pub(crate) mod client;
mod gathered;
mod place;
mod rows;
mod said;
pub mod schema;
mod sender;
#[cfg(test)]
mod tests;

pub use said::MonitorSaid;
pub use sender::{Sender, SenderSetup};
