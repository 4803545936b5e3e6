//! Rules on sets of rows: what a contract measures over a table, a delivery or a window, and whether that is as it must be.
//!
//! Asked by gates and deliveries, off the path of any commit: the rows are a pinned value. `sql` runs a measure. Invariant:
//! what is reported is a count, a number or words of ours, never a record's value; a rule that cannot be evaluated has
//! not passed.

pub mod check;
mod schedule;
mod sql;
#[cfg(test)]
mod tests;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use datafusion::catalog::TableProvider;
use datafusion::object_store::ObjectStore;
use futures::FutureExt;
use vitalake_contract::Contract;
use vitalake_contract::rule::{Must, SetRule, Severity};
use vitalake_lake::Catalogue;

pub use schedule::{ScheduledRules, measured, schedule_of};
use sql::Evaluator;

/// How long one rule may take.
const RULE_TIME_MAX: Duration = Duration::from_secs(60);

/// The rows that rules are about, and what else their SQL may read.
#[derive(Clone, Debug)]
pub struct RuleScope<'a> {
    /// The contract whose columns the rules name. `{object}` in a rule, and its dataset's own name, are `rows`.
    pub contract: &'a Contract,
    /// The rows.
    pub rows: Arc<dyn TableProvider>,
    /// The other datasets, by their names in SQL.
    pub others: Arc<Catalogue>,
    /// Where their files lie.
    pub store: Arc<dyn ObjectStore>,
}

/// What one rule gave.
#[derive(Clone, Debug, PartialEq)]
pub struct SetResult {
    /// The rule's name.
    pub rule: String,
    /// What breaking it means.
    pub severity: Severity,
    /// What was measured; none where that could not be done.
    pub got: Option<f64>,
    /// What it must be, in words.
    pub want: String,
    /// Whether it is so.
    pub outcome: SetOutcome,
}

/// Whether a set keeps a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetOutcome {
    /// It does.
    Passed,
    /// It does not.
    Broken,
    /// Nobody can tell, for this reason.
    NotEvaluated(String),
}

impl SetResult {
    /// Whether the rule is kept for certain.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.outcome == SetOutcome::Passed
    }

    /// What was found, in words: the number, or why there is none.
    #[must_use]
    pub fn found(&self) -> String {
        match (&self.outcome, self.got) {
            (SetOutcome::NotEvaluated(why), _) => format!("could not be evaluated: {why}"),
            (_, Some(got)) => got.to_string(),
            (_, None) => "nothing".to_owned(),
        }
    }
}

/// Evaluates rules over the rows of a scope, each on its own: one that fails says so and stops none of the others.
pub async fn evaluate<'r>(rules: impl IntoIterator<Item = &'r SetRule>, scope: &RuleScope<'_>) -> Vec<SetResult> {
    let mut results = Vec::new();
    for rule in rules {
        let measured = AssertUnwindSafe(measure(rule, scope)).catch_unwind();
        let measured = match tokio::time::timeout(RULE_TIME_MAX, measured).await {
            Ok(Ok(measured)) => measured,
            Ok(Err(_)) => Err("its computation broke down, which is a mistake in vitalake".to_owned()),
            Err(_) => Err(format!("it took longer than {} seconds", RULE_TIME_MAX.as_secs())),
        };
        let (got, outcome) = match measured {
            Ok(got) if holds(&rule.must, got) => (Some(got), SetOutcome::Passed),
            Ok(got) => (Some(got), SetOutcome::Broken),
            Err(why) => (None, SetOutcome::NotEvaluated(why)),
        };
        let (name, want) = (rule.name.clone(), Wanted(&rule.must).to_string());
        results.push(SetResult { rule: name, severity: rule.severity, got, want, outcome });
    }
    results
}

/// The newest value of a column of times that is not after a moment, in µs since 1970; a device's clock may be ahead.
pub(crate) async fn newest_us(scope: &RuleScope<'_>, column: &str, until_us: i64) -> Result<Option<i64>, String> {
    let column = format!("CAST(`{}` AS BIGINT)", column.to_lowercase());
    let query = format!("SELECT MAX({column}) FROM {{object}} WHERE {column} <= {until_us}");
    let newest = async { Evaluator::of(scope)?.number_or_null(&query).await };
    let newest = tokio::time::timeout(RULE_TIME_MAX, newest).await;
    let newest = newest.map_err(|_| format!("it took longer than {} seconds", RULE_TIME_MAX.as_secs()))??;
    #[expect(clippy::cast_possible_truncation, reason = "times of this era are whole numbers that f64 holds")]
    Ok(newest.map(|newest| newest as i64))
}

/// The number that a rule is about.
async fn measure(rule: &SetRule, scope: &RuleScope<'_>) -> Result<f64, String> {
    let query = rule.measure.query(&scope.contract.columns).ok_or("it names a column that is not there")?;
    Evaluator::of(scope)?.number(&query).await
}

/// Whether a number is as it must be. Both ends of a range belong to it.
fn holds(must: &Must, got: f64) -> bool {
    match must {
        Must::Be(want) => got == *want,
        Must::NotBe(want) => got != *want,
        Must::BeGreaterThan(want) => got > *want,
        Must::BeGreaterOrEqualTo(want) => got >= *want,
        Must::BeLessThan(want) => got < *want,
        Must::BeLessOrEqualTo(want) => got <= *want,
        Must::BeBetween(low, high) => got >= *low && got <= *high,
        Must::NotBeBetween(low, high) => got < *low || got > *high,
    }
}

/// A comparison in words: `at least 5`.
#[must_use]
pub fn wanted(must: &Must) -> String {
    Wanted(must).to_string()
}

/// A comparison in words.
struct Wanted<'a>(&'a Must);

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Must::Be(want) => write!(f, "{want}"),
            Must::NotBe(want) => write!(f, "not {want}"),
            Must::BeGreaterThan(want) => write!(f, "more than {want}"),
            Must::BeGreaterOrEqualTo(want) => write!(f, "at least {want}"),
            Must::BeLessThan(want) => write!(f, "less than {want}"),
            Must::BeLessOrEqualTo(want) => write!(f, "at most {want}"),
            Must::BeBetween(low, high) => write!(f, "between {low} and {high}"),
            Must::NotBeBetween(low, high) => write!(f, "not between {low} and {high}"),
        }
    }
}
