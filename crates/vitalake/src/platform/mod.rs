//! The platform: what outlives its lives, and one life after the other.
//!
//! A [`Life`] owns lake, log or broker, landing, models and deliveries from its opening to its end; [`Platform`] is what
//! HTTP asks, with or without a life; [`Process`] has the server, the signals and the data folder's lock, and begins the
//! next life when one has ended. Invariant: nothing of a life commits after its end, and the next begins only then.

mod alert_facts;
mod alert_turn;
mod alerts;
mod api;
pub mod app_service;
mod books;
#[cfg(feature = "rdkafka")]
mod broker;
mod console;
mod delivered_sets;
mod deliveries;
mod druid;
mod erase;
mod feeds;
mod flush;
mod follow;
mod front;
mod gates;
mod gateway;
mod gauges;
mod held_again;
mod intake;
mod kafka_doors;
mod life;
mod lineage;
pub(crate) mod monitor;
mod outside;
mod process;
mod quarantine;
mod recovery;
mod role;
mod runbooks;
mod samples;
mod setup;
mod spare;
mod surfaces;
mod tables;
mod tasks;
mod troubles;

pub use alerts::AlertDesk;
pub use console::ConsoleDesk;
pub use erase::{carry_out_due, erase_here};
pub use front::Platform;
pub use gauges::sample_forever;
pub use life::Life;
pub use outside::Outside;
pub use process::{Process, Started, Watching, http_app};
pub use quarantine::QuarantineDesk;
pub use role::Role;
pub use runbooks::RunbookDesk;
pub use setup::{AUDIT_FOLDER, Setup, Tuning, recorder};
