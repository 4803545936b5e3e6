//! FHIR resources as rows: SQL on FHIR's ViewDefinitions and the subset of FHIRPath that they are made of.
//!
//! `read` makes a [`View`] of a file, a delivery's decoder asks it for the rows of each resource, `check` compares its
//! columns with a contract's. Pure, as the crate is. Invariant: whatever a resource holds, it becomes rows or a reason.

mod boundary;
pub(crate) mod check;
mod decimal;
mod evaluate;
mod expression;
mod item;
pub mod json;
mod lexer;
mod parser;
mod read;
pub mod types;
mod view;

pub use item::Item;
pub use json::{Json, NotJson, Object};
pub use read::{ReadView, read};
pub use view::{Cell, ROWS_MAX, Row, View, ViewColumn, ViewError};
