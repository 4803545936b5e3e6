//! What data must look like: an ODCS v3.1 document becomes a typed [`Contract`].
//!
//! Pure: no I/O but reading a project's directory, no tokio. Everything else in vitalake takes the compiled contract.

pub mod access;
pub mod alert;
pub mod check;
pub mod compile;
pub mod consent;
pub mod contract;
pub mod dashboard;
mod delivery_format;
pub mod diagnostic;
pub mod feed;
pub mod fhir;
pub mod file_options;
pub mod java_format;
pub mod length;
pub mod odcs;
pub mod project;
pub mod quarantine;
pub mod rule;
pub mod safe_harbor;
pub mod schedule;
mod set_form;
pub mod time_format;
mod verdict;
pub mod yaml;

pub use contract::{Column, ColumnType, Contract, DatasetName, Delivery, Layer, OnStale, Sla, Source};
pub use delivery_format::DeliveryFormat;
pub use diagnostic::Diagnostic;
pub use project::{ContractSource, ModelFile, Project, RunbookFile};
