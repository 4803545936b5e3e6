//! Days, times and intervals as PostgreSQL writes them, in UTC.

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime};

/// Days from 1970 to PostgreSQL's first day, 2000-01-01.
pub const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub const EPOCH_MICROS: i64 = 946_684_800_000_000;

fn day(date: NaiveDate) -> (String, &'static str) {
    let year = date.year();
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{:02}-{:02}", date.month(), date.day()), era)
}

/// A day, as days since 1970.
pub fn date(days: i32) -> String {
    let date = DateTime::from_timestamp(i64::from(days) * 86_400, 0).map(|time| time.date_naive());
    date.map_or_else(
        || if days > 0 { "infinity".to_owned() } else { "-infinity".to_owned() },
        |date| {
            let (text, era) = day(date);
            format!("{text}{era}")
        },
    )
}

fn fraction(micros: i64) -> String {
    if micros == 0 {
        return String::new();
    }
    format!(".{micros:06}").trim_end_matches('0').to_owned()
}

/// A time of the day, in microseconds.
pub fn time(micros: i64) -> String {
    let seconds = micros.div_euclid(1_000_000);
    let rest = fraction(micros.rem_euclid(1_000_000));
    format!("{:02}:{:02}:{:02}{rest}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A moment in microseconds since 1970; in UTC where it has a zone.
pub fn timestamp(micros: i64, zoned: bool) -> String {
    let Some(moment): Option<NaiveDateTime> = DateTime::from_timestamp_micros(micros).map(|time| time.naive_utc())
    else {
        return if micros > 0 { "infinity".to_owned() } else { "-infinity".to_owned() };
    };
    let (text, era) = day(moment.date());
    let zone = if zoned { "+00" } else { "" };
    format!("{text} {}{zone}{era}", time(micros.rem_euclid(86_400_000_000)))
}

/// Months, days and microseconds.
pub fn interval(months: i32, days: i32, micros: i64) -> String {
    let mut parts = Vec::new();
    let mut part = |count: i32, one: &str, several: &str| {
        if count != 0 {
            parts.push(format!("{count} {}", if count == 1 { one } else { several }));
        }
    };
    part(months / 12, "year", "years");
    part(months % 12, "mon", "mons");
    part(days, "day", "days");
    if micros != 0 || parts.is_empty() {
        let sign = if micros < 0 { "-" } else { "" };
        let all = i64::try_from(micros.unsigned_abs()).unwrap_or(i64::MAX);
        parts.push(format!("{sign}{}", time(all)));
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_postgresql_writes_them() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(EPOCH_DAYS), "2000-01-01");
        assert_eq!(date(-719_163), "0001-12-31 BC");
        assert_eq!(timestamp(EPOCH_MICROS + 500_000, true), "2000-01-01 00:00:00.5+00");
        assert_eq!(timestamp(-1, false), "1969-12-31 23:59:59.999999");
        assert_eq!(interval(14, -2, 3_723_000_000), "1 year 2 mons -2 days 01:02:03");
        assert_eq!(interval(0, 0, -1_500_000), "-00:00:01.5");
        assert_eq!(interval(0, 0, 0), "00:00:00");
    }
}
