//! Which rejects are meant: by rule, by time, by delivery.
//!
//! Columns are found by their names, so that files from before a column was added are read as well. Invariant: what a
//! filter does not name it does not look at.

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
use serde::Deserialize;

/// What `_topic` begins with where a delivery brought the record.
const DELIVERED: &str = "feed/";

/// Rejects by what is known of them; what is `None` is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RejectFilter {
    /// A rule that the record broke, whether the first or not.
    pub rule: Option<String>,
    /// Quarantined at this moment or after it, microseconds since 1970.
    pub since_us: Option<i64>,
    /// Quarantined before this moment, microseconds since 1970.
    pub until_us: Option<i64>,
    /// The number of the delivery that brought the record.
    pub delivery: Option<i64>,
    /// Of deliveries none with a higher number.
    pub delivery_max: Option<i64>,
}

/// One entry of `_rules`.
#[derive(Deserialize)]
struct Named {
    rule: String,
}

impl RejectFilter {
    /// Whether it leaves everything in.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// The columns that it looks at.
    #[must_use]
    pub fn columns(&self) -> Vec<&'static str> {
        let mut columns = vec!["_quarantined_at"];
        if self.rule.is_some() {
            columns.extend(["_rule", "_rules"]);
        }
        if self.delivery.or(self.delivery_max).is_some() {
            columns.extend(["_topic", "_partition"]);
        }
        columns
    }

    /// Which rows of a batch of rejects are meant.
    #[must_use]
    pub fn mask(&self, rejects: &RecordBatch) -> BooleanArray {
        let (times, rules) = (self.times(rejects), self.rules(rejects));
        let deliveries = self.deliveries(rejects);
        (0..rejects.num_rows()).map(|row| Some(times(row) && rules(row) && deliveries(row))).collect()
    }

    fn times<'a>(&self, rejects: &'a RecordBatch) -> impl Fn(usize) -> bool + 'a {
        let (since, until) = (self.since_us, self.until_us);
        let column = rejects.column_by_name("_quarantined_at");
        let times = column.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        move |row| {
            let time = times.filter(|times| times.is_valid(row)).map(|times| times.value(row));
            since.is_none_or(|since| time.is_some_and(|time| time >= since))
                && until.is_none_or(|until| time.is_some_and(|time| time < until))
        }
    }

    fn rules<'a>(&'a self, rejects: &'a RecordBatch) -> impl Fn(usize) -> bool + 'a {
        let text = |name| rejects.column_by_name(name).and_then(|column| column.as_string_view_opt());
        let (first, all) = (text("_rule"), text("_rules"));
        move |row| {
            let Some(wanted) = &self.rule else { return true };
            let is_first = first.is_some_and(|first| first.is_valid(row) && first.value(row) == wanted);
            is_first || all.is_some_and(|all| all.is_valid(row) && names(all.value(row), wanted))
        }
    }

    fn deliveries<'a>(&self, rejects: &'a RecordBatch) -> impl Fn(usize) -> bool + 'a {
        let (wanted, most) = (self.delivery, self.delivery_max);
        let topics = rejects.column_by_name("_topic").and_then(|column| column.as_string_view_opt());
        let numbers = rejects.column_by_name("_partition").and_then(|column| column.as_primitive_opt::<Int32Type>());
        move |row| {
            if wanted.or(most).is_none() {
                return true;
            }
            let delivered =
                topics.is_some_and(|topics| topics.is_valid(row) && topics.value(row).starts_with(DELIVERED));
            let number = numbers.filter(|numbers| numbers.is_valid(row)).map(|numbers| i64::from(numbers.value(row)));
            let is_wanted = wanted.is_none_or(|wanted| delivered && number == Some(wanted));
            is_wanted && (!delivered || most.is_none_or(|most| number.is_some_and(|number| number <= most)))
        }
    }
}

/// Whether the rules of a reject, as JSON text, have one of this name.
fn names(rules: &str, wanted: &str) -> bool {
    let listed = || serde_json::from_str::<Vec<Named>>(rules).unwrap_or_default();
    rules.contains("\"rule\"") && listed().iter().any(|named| named.rule == wanted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, StringViewArray, TimestampMicrosecondArray};
    use rstest::rstest;

    use super::*;

    fn rejects() -> RecordBatch {
        let rules = [
            Some(r#"[{"rule":"hour","reason":"x"},{"rule":"steps","reason":"y"}]"#),
            Some(r#"[{"rule":"say \"hour\"","reason":"x"}]"#),
            None,
        ];
        let columns: [(&str, ArrayRef); 5] = [
            ("_rule", Arc::new(StringViewArray::from(vec!["hour", "say \"hour\"", "csv"]))),
            ("_rules", Arc::new(StringViewArray::from_iter(rules))),
            ("_topic", Arc::new(StringViewArray::from(vec!["hours", "feed/x", "feed/x"]))),
            ("_partition", Arc::new(Int32Array::from(vec![7, 7, 8]))),
            ("_quarantined_at", Arc::new(TimestampMicrosecondArray::from(vec![10, 20, 30]).with_timezone("UTC"))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn rule(name: &str) -> RejectFilter {
        RejectFilter { rule: Some(name.to_owned()), ..RejectFilter::default() }
    }

    #[rstest]
    #[case::everything(RejectFilter::default(), [true, true, true])]
    #[case::first_rule(rule("hour"), [true, false, false])]
    #[case::another_of_its_rules(rule("steps"), [true, false, false])]
    #[case::a_name_with_quotes(rule("say \"hour\""), [false, true, false])]
    #[case::from_before_all_rules_were_kept(rule("csv"), [false, false, true])]
    #[case::since_is_inside(RejectFilter { since_us: Some(20), ..RejectFilter::default() }, [false, true, true])]
    #[case::until_is_outside(RejectFilter { until_us: Some(20), ..RejectFilter::default() }, [true, false, false])]
    #[case::a_partition_is_no_delivery(RejectFilter { delivery: Some(7), ..RejectFilter::default() }, [false, true, false])]
    #[case::all_at_once(
        RejectFilter { since_us: Some(0), until_us: Some(31), delivery: Some(8), ..rule("csv") },
        [false, false, true]
    )]
    #[case::a_delivery_that_is_not_there(
        RejectFilter { delivery_max: Some(7), ..RejectFilter::default() },
        [true, true, false]
    )]
    fn a_filter_means_the_rows_that_it_names(#[case] filter: RejectFilter, #[case] want: [bool; 3]) {
        assert_eq!(filter.mask(&rejects()), BooleanArray::from(want.to_vec()));
    }
}
