//! Counts and sums of a delivery as it is read, compared with what its sender says.
//!
//! Sums are over all records, those that a rule rejects too. Whole numbers are summed exactly; others with a compensation
//! of what each addition loses, so that the order of rows does not matter at the precision that is compared. Invariant: a
//! verdict here says counts and sums, never a record.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type};
use vitalake_contract::Contract;

use super::delivered::Verdict;
use super::expected::Expected;
use super::pieces::Received;
use crate::decode::{DecodeError, Redecoder, Rules};

/// How far two sums of fractions may be apart: as a share of the sum of all values without their signs, which is what
/// their binary form may lose, and at the least.
const ROUNDING: (f64, f64) = (4e-16, 1e-9);

/// The sum of a column so far.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    whole: i128,
    fractions: f64,
    lost: f64,
    size: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        let sum = self.fractions + value;
        let larger = self.fractions.abs() >= value.abs();
        self.lost += if larger { (self.fractions - sum) + value } else { (value - sum) + self.fractions };
        self.fractions = sum;
        self.size += value.abs();
    }

    fn take(&mut self, column: &ArrayRef) {
        match column.data_type() {
            DataType::Int64 => {
                column.as_primitive::<Int64Type>().iter().flatten().for_each(|n| self.whole += i128::from(n));
            }
            DataType::Int32 => {
                column.as_primitive::<Int32Type>().iter().flatten().for_each(|n| self.whole += i128::from(n));
            }
            DataType::Float64 => column.as_primitive::<Float64Type>().iter().flatten().for_each(|n| self.add(n)),
            DataType::Float32 => {
                column.as_primitive::<Float32Type>().iter().flatten().for_each(|n| self.add(f64::from(n)));
            }
            _ => {}
        }
    }

    fn is(&self, want: &str) -> bool {
        if self.size == 0.0
            && let Ok(want) = want.parse::<i128>()
        {
            return self.whole == want;
        }
        let got = self.whole as f64 + (self.fractions + self.lost);
        let room = ROUNDING.0 * self.size + ROUNDING.1;
        want.parse::<f64>().is_ok_and(|want| (got - want).abs() <= room)
    }

    fn in_words(&self) -> String {
        if self.size == 0.0 {
            self.whole.to_string()
        } else {
            (self.whole as f64 + self.fractions + self.lost).to_string()
        }
    }
}

/// The sums of the columns that are asked for.
#[derive(Debug, Default)]
pub(super) struct Sums {
    columns: BTreeMap<String, Sum>,
    /// Decodes rejects without their rules: their numbers count too.
    again: Option<Redecoder>,
}

impl Sums {
    /// Of the columns that somebody says sums of.
    pub(super) fn of(contract: &Contract, expected: Option<&Expected>) -> Self {
        let columns: BTreeMap<String, Sum> = expected
            .iter()
            .flat_map(|expected| expected.sums.keys())
            .filter(|name| contract.columns.iter().any(|column| column.name.as_ref() == name.as_str()))
            .map(|name| (name.clone(), Sum::default()))
            .collect();
        let again = (!columns.is_empty()).then(|| {
            let without_rules = Contract { row_rules: Vec::new(), ..contract.clone() };
            Redecoder::new(Rules::new(Arc::new(without_rules), None))
        });
        Self { columns, again }
    }

    /// Takes a batch of rows and rejects in.
    pub(super) fn take(&mut self, rows: &RecordBatch, rejects: &RecordBatch) -> Result<(), DecodeError> {
        let Some(again) = &mut self.again else { return Ok(()) };
        let of_rejects = if rejects.num_rows() == 0 { Vec::new() } else { again.redecode(rejects)?.rows };
        for batch in std::iter::once(rows).chain(&of_rejects) {
            for (name, sum) in &mut self.columns {
                if let Some(column) = batch.column_by_name(name) {
                    sum.take(column);
                }
            }
        }
        Ok(())
    }

    /// What does not come out.
    pub(super) fn compare(&self, expected: &Expected, received: &Received) -> Vec<Verdict> {
        let differs =
            |what: &str, got: String, want: String| Verdict { rule: format!("control total {what}"), got, want };
        let counts = [("rows", received.totals.records, expected.rows), ("bytes", received.bytes, expected.bytes)];
        let counts = counts.into_iter().filter_map(|(what, got, want)| {
            want.filter(|want| *want != got).map(|want| differs(what, got.to_string(), want.to_string()))
        });
        let hash = expected.sha256.iter().filter(|want| !want.eq_ignore_ascii_case(&received.sha256));
        let hash = hash.map(|want| differs("sha256", received.sha256.clone(), want.clone()));
        let sums = expected.sums.iter().filter_map(|(column, want)| match self.columns.get(column) {
            Some(sum) if sum.is(want) => None,
            Some(sum) => Some(differs(&format!("sum of {column}"), sum.in_words(), want.clone())),
            None => Some(differs(&format!("sum of {column}"), "no such column".to_owned(), want.clone())),
        });
        counts.chain(hash).chain(sums).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array};
    use rstest::rstest;

    use super::*;

    fn sum(column: ArrayRef) -> Sum {
        let mut sum = Sum::default();
        sum.take(&column);
        sum
    }

    #[rstest]
    #[case("0.6", true)]
    #[case("0.60", true)]
    #[case("0.601", false)]
    #[case("1", false)]
    fn fractions_come_out_whatever_their_binary_form(#[case] want: &str, #[case] same: bool) {
        assert_eq!(sum(Arc::new(Float64Array::from(vec![0.1, 0.2, 0.3]))).is(want), same);
    }

    #[test]
    fn a_unit_among_billions_is_seen_and_the_order_of_rows_is_not() {
        let mut values: Vec<f64> = (0..100_000).map(|n| f64::from(n) * 1e4 + 0.01).collect();
        let forwards = sum(Arc::new(Float64Array::from(values.clone())));
        values.reverse();
        let backwards = sum(Arc::new(Float64Array::from(values)));
        for sum in [forwards, backwards] {
            assert_eq!(
                [sum.is("49999500001000"), sum.is("49999500001000.00"), sum.is("49999500001001")],
                [true, true, false]
            );
        }
    }

    #[test]
    fn whole_numbers_are_exact_and_do_not_overflow() {
        let sum = sum(Arc::new(Int64Array::from(vec![i64::MAX, i64::MAX, 1])));
        assert_eq!([sum.is("18446744073709551615"), sum.is("18446744073709551614")], [true, false]);
    }
}
