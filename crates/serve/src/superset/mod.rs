//! Dashboards in Superset: what becomes of a project's dashboards there.
//!
//! `bundle` makes the assets and reads them back, without any I/O; `client` speaks with a Superset; `plan` says what has to
//! change there and does it; `question` compares a chart's data with our own. Invariant: nothing of others is changed.

pub mod bundle;
pub mod client;
pub mod plan;
pub mod question;
