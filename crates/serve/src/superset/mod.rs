//! Dashboards in Superset: what becomes of a project's dashboards there.
//!
//! `bundle` makes the assets and reads them back, without any I/O.

pub mod bundle;
