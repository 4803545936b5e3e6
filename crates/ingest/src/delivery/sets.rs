//! Rules about a delivery as a set of rows: who judges them, and what was found.
//!
//! Asked when the file is here to its end and its rows are files that nothing names. Invariant: what was found holds names,
//! counts and words of ours, never a record's value.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use vitalake_contract::check::SqlRules;
use vitalake_contract::rule::Severity;
use vitalake_lake::DataFile;

/// Judges the rows of deliveries to one dataset.
pub trait DeliveryJudge: fmt::Debug + Send + Sync {
    /// What each rule finds of the rows in these files, which are all that a delivery adds.
    fn judge<'a>(&'a self, rows: &'a [Arc<DataFile>]) -> BoxFuture<'a, Vec<SetFinding>>;
}

/// What a rule found of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct SetFinding {
    /// The rule's name.
    pub rule: String,
    /// What breaking it means.
    pub severity: Severity,
    /// What was measured; none where that could not be done.
    pub got: Option<f64>,
    /// The same in words, or why there is none.
    pub found: String,
    /// What the rule wants, in words.
    pub want: String,
    /// Whether it holds; none where nobody can tell.
    pub passed: Option<bool>,
}

impl SetFinding {
    /// Whether the delivery is refused for it: what cannot be told of such a rule is taken for broken. Where it can be
    /// held, an error is enough.
    pub(super) fn refuses(&self, can_be_held: bool) -> bool {
        let least = if can_be_held { self.severity != Severity::Warning } else { self.severity == Severity::Fatal };
        least && self.passed != Some(true)
    }
}

/// The rules of a dataset that need an engine.
#[derive(Clone, Debug, Default)]
pub struct DeliveryRules {
    /// Those on rows.
    pub sql: Option<Arc<dyn SqlRules>>,
    /// Those about the delivery as a set; none where the dataset has none.
    pub sets: Option<Arc<dyn DeliveryJudge>>,
}
