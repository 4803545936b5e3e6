//! Whether what Druid says of a task is what it was given, and whether it answers as we do.
//!
//! A task that says SUCCESS may have read nothing and emptied its intervals, so its own counts are held against ours, and
//! then its answers. Pure. Invariant: of what Druid writes only numbers are used, and kinds of failure that are known.

use std::collections::BTreeMap;

use serde_json::Value;

use super::count::{Counted, Sum};
use super::interval::{Granularity, Interval};
use super::spec::PublishedColumn;

/// How far a sum of numbers may be off, as a share of what was summed: additions come in another order there.
const SHARE_OFF_MAX: f64 = 1e-9;
/// Intervals that a question names one by one; of more it names the whole stretch.
const NAMED_MAX: usize = 40;

/// What a task must have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Rows inside of its intervals.
    pub rows: u64,
    /// Rows of the same files outside of them.
    pub outside: u64,
}

/// What a task's report says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Rows that it took in.
    pub processed: u64,
    /// Rows of which it could not read a value.
    pub with_error: u64,
    /// Rows outside of the intervals.
    pub thrown_away: u64,
    /// Rows that it could not read.
    pub unparseable: u64,
}

impl Ingested {
    /// What is not as it must be, in words.
    #[must_use]
    pub fn differs(&self, expected: Expected) -> Option<String> {
        let Self { processed, with_error, thrown_away, unparseable } = *self;
        let is_as_expected = processed == expected.rows && with_error == 0 && unparseable == 0;
        let inside = if expected.rows == 0 && expected.outside == 0 {
            thrown_away <= 1
        } else {
            thrown_away == expected.outside
        };
        (!(is_as_expected && inside)).then(|| {
            format!(
                "Druid took {processed} of {} rows: {with_error} with a value that it could not read, {unparseable} that it could not read at all, {thrown_away} outside of the intervals where {} lie there",
                expected.rows, expected.outside
            )
        })
    }
}

/// The counts of a task's report; `None` where it has none.
#[must_use]
pub fn ingested(report: &Value) -> Option<Ingested> {
    let rows = report.pointer("/ingestionStatsAndErrors/payload/rowStats")?;
    let counts = rows.get("buildSegments").or_else(|| rows.pointer("/totals/buildSegments"))?;
    let count = |name: &str| counts.get(name).and_then(Value::as_f64).map_or(0, |count| count as u64);
    Some(Ingested {
        processed: count("processed"),
        with_error: count("processedWithError"),
        thrown_away: count("thrownAway"),
        unparseable: count("unparseable"),
    })
}

/// Why a task failed, in our words: what Druid writes may quote rows.
#[must_use]
pub fn failure(said: &str) -> &'static str {
    let said = said.to_lowercase();
    let kinds: [(&[&str], &str); 7] = [
        (&["shutdown request", "canceled", "cancelled"], "its task was ended by somebody"),
        (&["no space left", "not enough space", "disk"], "it has no room on its disk"),
        (&["max parse exceptions", "unparseable", "parse"], "it could not read a row of the files"),
        (
            &[
                "server returned http response",
                "filenotfound",
                "connection refused",
                "connect timed out",
                "unable to open",
                "retry",
            ],
            "it could not fetch the files: see that engines.druid.files_url leads from Druid to this process",
        ),
        (&["lock", "revoked"], "another task took its interval"),
        (&["heap", "outofmemory", "memory"], "it ran out of memory"),
        (&["disappeared", "no longer", "worker", "not found"], "the process that ran its task went away"),
    ];
    let known = kinds.iter().find(|(words, _)| words.iter().any(|word| said.contains(word)));
    known.map_or("its task failed", |(_, words)| words)
}

/// The question whose answer is held against our counts: a row for each segment's time, with the sum of each number.
#[must_use]
pub fn question(
    datasource: &str,
    columns: &[PublishedColumn],
    granularity: Granularity,
    intervals: &[Interval],
) -> String {
    let sums = columns.iter().filter(|column| column.kind.is_number());
    let sums: String = sums.map(|column| format!(", SUM({})", quoted(&column.name))).collect();
    let whole = intervals
        .first()
        .zip(intervals.last())
        .map(|(first, last)| Interval { start_ms: first.start_ms, end_ms: last.end_ms });
    let named: Vec<Interval> =
        if intervals.len() > NAMED_MAX { whole.into_iter().collect() } else { intervals.to_vec() };
    let inside: Vec<String> = named
        .iter()
        .map(|interval| {
            format!(
                "(__time >= MILLIS_TO_TIMESTAMP({}) AND __time < MILLIS_TO_TIMESTAMP({}))",
                interval.start_ms, interval.end_ms
            )
        })
        .collect();
    format!(
        "SELECT TIMESTAMP_TO_MILLIS(TIME_FLOOR(__time, '{}')), COUNT(*){sums} FROM {} WHERE {} GROUP BY 1",
        granularity.period(),
        quoted(datasource),
        inside.join(" OR "),
    )
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What differs between our counts and Druid's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// Rows of ours.
    pub rows_here: u64,
    /// Rows of Druid's.
    pub rows_there: u64,
    /// Segments' times whose number of rows differs.
    pub counts_off: u64,
    /// The columns whose sum differs somewhere.
    pub sums_off: Vec<String>,
}

impl Difference {
    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.counts_off == 0 && self.sums_off.is_empty()
    }

    /// It in words.
    #[must_use]
    pub fn words(&self) -> String {
        let sums = match self.sums_off.as_slice() {
            [] => String::new(),
            columns => format!("; sums differ of {}", columns.join(", ")),
        };
        format!("Druid has {} rows where this version has {}{sums}", self.rows_there, self.rows_here)
    }
}

/// Compares our counts with Druid's answer to [`question`].
#[must_use]
pub fn compare(
    columns: &[PublishedColumn],
    intervals: &[Interval],
    ours: &BTreeMap<i64, Counted>,
    theirs: &[Vec<Value>],
) -> Difference {
    let inside = |at_ms: i64| intervals.iter().any(|interval| interval.holds(at_ms));
    let row = |row: &Vec<Value>| {
        let at_ms = row.first()?.as_i64().filter(|at_ms| inside(*at_ms))?;
        Some((at_ms, (row.get(1)?.as_u64()?, row.get(2..).unwrap_or_default().to_vec())))
    };
    let theirs: BTreeMap<i64, (u64, Vec<Value>)> = theirs.iter().filter_map(row).collect();
    let numbers: Vec<&PublishedColumn> = columns.iter().filter(|column| column.kind.is_number()).collect();
    let mut found = Difference {
        rows_here: ours.values().map(|counted| counted.rows).sum(),
        rows_there: theirs.values().map(|(rows, _)| rows).sum(),
        ..Difference::default()
    };
    for (at_ms, counted) in ours {
        let Some((rows, sums)) = theirs.get(at_ms).filter(|(rows, _)| *rows == counted.rows) else {
            found.counts_off += 1;
            continue;
        };
        let _same_rows = rows;
        for ((column, ours), theirs) in numbers.iter().zip(&counted.sums).zip(sums) {
            if !is_same(*ours, theirs) && !found.sums_off.contains(&column.name) {
                found.sums_off.push(column.name.clone());
            }
        }
    }
    found.counts_off += theirs.keys().filter(|at_ms| !ours.contains_key(at_ms)).count() as u64;
    found
}

/// Whether two sums are the same. One that is no finite number cannot be compared.
fn is_same(ours: Sum, theirs: &Value) -> bool {
    match ours {
        Sum::Long(sum) => match i64::try_from(sum) {
            Ok(sum) => theirs.as_i64().unwrap_or(0) == sum,
            Err(_) => true,
        },
        Sum::Double(sum, size) if sum.is_finite() => {
            let theirs = if theirs.is_null() { Some(0.0) } else { theirs.as_f64() };
            theirs.is_some_and(|theirs| (theirs - sum).abs() <= size * SHARE_OFF_MAX)
        }
        Sum::Double(..) => true,
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
