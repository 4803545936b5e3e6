//! Alerts: from what is known of the platform to the people who must know it, each once.
//!
//! | file | what |
//! |---|---|
//! | `rule` | the alerts that are evaluated: the project's and the platform's own |
//! | `signal`, `volume`, `ask` | what is known, or a query's rows, becomes observations |
//! | `machine` | observations become states |
//! | `book`, `lineage` | all states, who speaks for whom, and what each receiver was told |
//! | `notice` | what is still to be said |
//! | `form`, `send`, `courier` | a message in its receiver's form, on its way, again until it is taken |
//! | `keep` | the book in the lake, for the next process |
//! | `desk`, `run`, `request`, `report` | evaluation, and what people ask |
//!
//! The middle (`machine`, `book`, `notice`) is pure. Invariant: only the process that owns the models evaluates and
//! sends.

pub mod ask;
pub mod book;
mod courier;
pub mod desk;
#[cfg(test)]
mod desk_tests;
pub mod form;
#[cfg(test)]
mod hour_tests;
pub mod keep;
pub mod lineage;
pub mod machine;
pub mod notice;
pub mod rates;
pub mod report;
pub mod request;
pub mod rule;
pub mod run;
#[cfg(test)]
mod run_tests;
pub mod send;
pub mod signal;
#[cfg(test)]
mod signal_tests;
#[cfg(test)]
mod tests;
pub mod volume;
