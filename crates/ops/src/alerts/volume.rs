//! A dataset's rows of one hour against the same hour of the last four weeks, robustly.
//!
//! One odd week (a holiday, an outage) must neither raise the alarm nor hide it, so the measure is the median and the
//! median distance from it. Pure.

use chrono::{DateTime, SecondsFormat};

use super::machine::Observation;

/// The same hour so many weeks back.
pub const WEEKS: usize = 4;
/// With fewer weeks there is nothing to compare with.
const WEEKS_MIN: usize = 3;
/// From a median distance to a standard deviation, for what is normally distributed.
const TO_DEVIATION: f64 = 1.4826;

const HOUR_MS: i64 = 3_600_000;
const WEEK_MS: i64 = 7 * 24 * HOUR_MS;

/// The last full hour before a moment, by its number since 1970.
#[must_use]
pub fn last_full_hour(wall_ms: i64) -> i64 {
    wall_ms.div_euclid(HOUR_MS) - 1
}

/// The query that counts a table's rows of an hour so many weeks back.
#[must_use]
pub fn count_query(table: &str, column: &str, hour: i64, weeks: usize) -> String {
    let from = begins(hour, weeks);
    let (from, to) = (literal(from), literal(from + HOUR_MS));
    format!("SELECT COUNT(*) FROM {table} WHERE \"{column}\" >= {from} AND \"{column}\" < {to}")
}

/// The query that tells whether a table reaches back so many weeks: it stops at the first row that does.
#[must_use]
pub fn reach_query(table: &str, column: &str, hour: i64, weeks: usize) -> String {
    let end = literal(begins(hour, weeks) + HOUR_MS);
    format!("SELECT COUNT(*) FROM (SELECT \"{column}\" FROM {table} WHERE \"{column}\" < {end} LIMIT 1)")
}

fn begins(hour: i64, weeks: usize) -> i64 {
    hour * HOUR_MS - i64::try_from(weeks).unwrap_or(0) * WEEK_MS
}

/// A moment as SQL has it.
pub(super) fn literal(ms: i64) -> String {
    let at = DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true);
    format!("TIMESTAMP '{}'", at.replace('T', " ").replace('Z', ""))
}

/// Rows of the last full hour, and of the same hour of earlier weeks as far as the dataset reaches back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Volume {
    /// Rows of the last full hour.
    pub last: u64,
    /// Rows of that hour one week back and so on.
    pub before: Vec<u64>,
}

impl Volume {
    /// Whether the hour is further from what is usual than so many deviations.
    #[must_use]
    pub fn judge(&self, deviations: f64) -> Observation {
        if self.before.len() < WEEKS_MIN {
            let weeks = self.before.len();
            return Observation::NoData(format!(
                "its rows reach back {weeks} weeks, and {WEEKS_MIN} are compared at least"
            ));
        }
        let before: Vec<f64> = self.before.iter().map(|rows| *rows as f64).collect();
        let usual = median(before.clone());
        let distance = median(before.iter().map(|rows| (rows - usual).abs()).collect());
        // Weeks that are alike by chance leave no room at all: counts scatter by their root, and people by a tenth.
        let deviation = (distance * TO_DEVIATION).max(usual.sqrt()).max(usual * 0.1).max(1.0);
        let found = (self.last as f64 - usual) / deviation;
        if found.abs() <= deviations {
            return Observation::Clear;
        }
        let than = if found < 0.0 { "fewer" } else { "more" };
        Observation::Holds(format!("{} rows in the last full hour, {than} than the usual {usual:.0}", self.last))
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let half = numbers.len() / 2;
    let at = |index: usize| numbers.get(index).copied().unwrap_or_default();
    if numbers.len() % 2 == 1 { at(half) } else { (at(half.saturating_sub(1)) + at(half)) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_hour_of_earlier_weeks_is_asked_for() {
        let hour = last_full_hour(1_700_000_000_000);
        assert_eq!(
            count_query("raw.x", "_ingested_at", hour, 1),
            "SELECT COUNT(*) FROM raw.x WHERE \"_ingested_at\" >= TIMESTAMP '2023-11-07 21:00:00' \
             AND \"_ingested_at\" < TIMESTAMP '2023-11-07 22:00:00'"
        );
        assert!(reach_query("raw.x", "t", hour, 0).contains("\"t\" < TIMESTAMP '2023-11-14 22:00:00' LIMIT 1"));
    }

    #[rstest::rstest]
    #[case::as_ever(1000, &[990, 1010, 1000, 1005], "clear")]
    #[case::silent(0, &[990, 1010, 1000, 1005], "holds")]
    #[case::twice(2000, &[990, 1010, 1000, 1005], "holds")]
    #[case::one_odd_week_hides_nothing(0, &[990, 0, 1000, 1005], "holds")]
    #[case::one_odd_week_raises_nothing(1000, &[990, 9000, 1000, 1005], "clear")]
    #[case::weeks_that_are_alike(1010, &[1000, 1000, 1000, 1000], "clear")]
    #[case::few_rows_scatter(1, &[3, 2, 4, 3], "clear")]
    #[case::weeks_that_scatter(1500, &[500, 1500, 1000, 2000], "clear")]
    #[case::too_young(0, &[1000, 1000], "no data")]
    fn hours(#[case] last: u64, #[case] before: &[u64], #[case] expected: &str) {
        let found = match (Volume { last, before: before.to_vec() }).judge(5.0) {
            Observation::Clear => "clear",
            Observation::Holds(_) => "holds",
            Observation::NoData(_) => "no data",
            Observation::Unknown(_) => "unknown",
        };
        assert_eq!(found, expected);
    }
}
