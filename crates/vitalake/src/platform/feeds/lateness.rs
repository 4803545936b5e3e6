//! Whether the delivery that was due is here.
//!
//! Pure. Where files have a date, the delivery of a due time is the one of its date; where they have none, it is any that
//! came since the due time before. Invariant: nothing is late before its time and the delay that is allowed have passed.

use chrono::{DateTime, Days, NaiveDate, Utc};
use vitalake_contract::feed::{DueDate, FeedDue};

/// What is known of deliveries that came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Came {
    /// When one last came, in milliseconds since 1970.
    pub(super) last_ms: Option<i64>,
    /// The newest business date.
    pub(super) newest_date: Option<NaiveDate>,
    /// Since when deliveries are watched.
    pub(super) watched_since_ms: i64,
}

/// When the delivery was due that is not here and may be no later.
pub(super) fn late_since_ms(due: &FeedDue, came: Came, now_ms: i64) -> Option<i64> {
    let late_by_ms = i64::try_from(due.late_by.as_millis()).unwrap_or(i64::MAX);
    let due_ms = due.calendar.last_ms(now_ms.saturating_sub(late_by_ms))?;
    let Some(last_ms) = came.last_ms else {
        // Nothing ever came: what was due before anybody watched is not held against the sender.
        return (due_ms >= came.watched_since_ms).then_some(due_ms);
    };
    let is_here = match (due.date, came.newest_date) {
        (Some(date), Some(newest)) => expected(due, date, due_ms).is_none_or(|expected| newest >= expected),
        _ => due.calendar.last_ms(due_ms - 1).is_none_or(|before_ms| last_ms > before_ms),
    };
    (!is_here).then_some(due_ms)
}

/// The business date of the delivery that is due at a time.
fn expected(due: &FeedDue, date: DueDate, due_ms: i64) -> Option<NaiveDate> {
    let day = DateTime::<Utc>::from_timestamp_millis(due_ms)?.with_timezone(&due.calendar.zone()).date_naive();
    match date {
        DueDate::Today => Some(day),
        DueDate::Yesterday => day.checked_sub_days(Days::new(1)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rstest::rstest;
    use std::time::Duration;
    use vitalake_contract::feed::Calendar;

    fn ms(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    /// Due at 06:00 in Berlin, which is 05:00 UTC, and at most four hours late.
    fn due(date: Option<DueDate>) -> FeedDue {
        let calendar = Calendar::new("0 6 * * *", "Europe/Berlin".parse().unwrap()).unwrap();
        FeedDue { calendar, late_by: Duration::from_secs(4 * 3600), date }
    }

    const DUE: Option<&str> = Some("2026-11-29T05:00:00Z");

    #[rstest]
    #[case::within_what_is_allowed("2026-11-29T08:59:00Z", "2026-11-28T04:50:00Z", None)]
    #[case::four_hours_late("2026-11-29T09:00:00Z", "2026-11-28T04:50:00Z", DUE)]
    #[case::came_before_it_was_due("2026-11-29T09:00:00Z", "2026-11-29T04:50:00Z", None)]
    #[case::came_late("2026-11-29T10:00:00Z", "2026-11-29T09:50:00Z", None)]
    #[case::days_late("2026-12-03T09:00:00Z", "2026-11-28T04:50:00Z", Some("2026-12-03T05:00:00Z"))]
    fn without_a_date_any_delivery_since_the_time_before_counts(
        #[case] now: &str,
        #[case] last: &str,
        #[case] want: Option<&str>,
    ) {
        let came = Came { last_ms: Some(ms(last)), ..Came::default() };
        assert_eq!(late_since_ms(&due(None), came, ms(now)), want.map(ms));
    }

    #[rstest]
    #[case::today_is_here(DueDate::Today, "2026-11-29", None)]
    #[case::an_older_one_came_instead(DueDate::Today, "2026-11-28", DUE)]
    #[case::yesterday_is_here(DueDate::Yesterday, "2026-11-28", None)]
    #[case::yesterday_is_not(DueDate::Yesterday, "2026-11-27", DUE)]
    #[case::ahead(DueDate::Yesterday, "2026-11-30", None)]
    fn with_a_date_only_that_of_the_day_counts(
        #[case] date: DueDate,
        #[case] newest: NaiveDate,
        #[case] want: Option<&str>,
    ) {
        let now_ms = ms("2026-11-29T09:30:00Z");
        let came = Came { last_ms: Some(now_ms - 60_000), newest_date: Some(newest), ..Came::default() };
        assert_eq!(late_since_ms(&due(Some(date)), came, now_ms), want.map(ms));
    }

    #[rstest]
    #[case::due_before_it_was_watched("2026-11-29T07:00:00Z", None)]
    #[case::due_since("2026-11-29T04:00:00Z", DUE)]
    fn where_nothing_ever_came_only_what_is_due_from_now_on_is_late(#[case] since: &str, #[case] want: Option<&str>) {
        let came = Came { watched_since_ms: ms(since), ..Came::default() };
        assert_eq!(late_since_ms(&due(None), came, ms("2026-11-29T09:30:00Z")), want.map(ms));
    }
}
