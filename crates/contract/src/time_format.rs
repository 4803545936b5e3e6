//! Dates and times as text: the JDK patterns of `logicalTypeOptions.format`, compiled once, used on the hot path.
//!
//! Pure. The letters mean what `java.time.format.DateTimeFormatter` says, in English, with three differences: names of
//! months, days and AM/PM are read in any case, a day that does not exist (30 February, where the JDK takes the last of
//! the month) is refused, and a date without a time of day is its midnight where an instant is wanted.
//! Invariant: parsing allocates nothing and never panics, whatever the bytes.

mod fields;
mod iso;
pub mod names;
mod pattern;

use std::sync::Arc;

use chrono::{DateTime, Duration, MappedLocalTime, Offset, TimeZone};
use chrono_tz::Tz;

pub use iso::{parse_iso_date, parse_iso_time, parse_rfc3339};

use fields::{Fields, Zone, read};
use pattern::{Item, items};

/// A compiled JDK `DateTimeFormatter` pattern with the zone of zoneless input.
#[derive(Clone, Debug)]
pub struct TimeFormat {
    /// The pattern as written.
    pub pattern: String,
    /// The zone of input that names none.
    pub default_zone: Option<Tz>,
    items: Arc<[Item]>,
    default: Zone,
}

impl TimeFormat {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// Says in words what in the pattern is not understood, and what to write in its place.
    pub fn compile(pattern: &str, default_zone: Option<Tz>) -> Result<Self, String> {
        let default = match default_zone {
            None => Zone::Unknown,
            Some(Tz::UTC | Tz::Etc__UTC | Tz::GMT | Tz::Etc__GMT | Tz::Zulu | Tz::Etc__UCT) => Zone::Offset(0),
            Some(zone) => Zone::Named(zone),
        };
        Ok(Self { pattern: pattern.to_owned(), default_zone, items: items(pattern)?.into(), default })
    }

    /// Whether the text itself always says its zone or offset.
    #[must_use]
    pub fn has_zone(&self) -> bool {
        self.items.iter().any(Item::is_zone)
    }

    /// Whether the pattern can hold a whole date: year, month and day.
    #[must_use]
    pub fn has_date(&self) -> bool {
        let within = |letters: &str| self.items.iter().any(|item| item.any(&|item| item.is_one_of(letters)));
        within("yu") && ((within("M") && within("d")) || within("D"))
    }

    /// Whether the pattern can hold an hour.
    #[must_use]
    pub fn has_time(&self) -> bool {
        self.items.iter().any(|item| item.any(&|item| item.is_one_of("HhKk")))
    }

    /// An instant in µs since 1970 UTC.
    #[must_use]
    pub fn parse_timestamp(&self, text: &[u8]) -> Option<i64> {
        let fields = self.fields(text)?;
        let (next_day, micros) = fields.time_of_day().or_else(|| fields.has_no_time().then_some((0, 0)))?;
        let days = i64::from(fields.day()?) + i64::from(next_day);
        let zone = if matches!(fields.zone, Zone::Unknown) { self.default } else { fields.zone };
        let seconds = days * 86_400;
        let offset = match zone {
            Zone::Unknown => return None,
            Zone::Offset(seconds) => i64::from(seconds),
            Zone::Named(zone) => offset_at(zone, seconds + micros / 1_000_000)?,
        };
        Some((seconds - offset) * 1_000_000 + micros)
    }

    /// The instant of a local time, both in µs since 1970, in the zone of input that names none; none without such a zone.
    #[must_use]
    pub fn instant_of_local(&self, local_micros: i64) -> Option<i64> {
        let offset = match self.default {
            Zone::Unknown => return None,
            Zone::Offset(seconds) => i64::from(seconds),
            Zone::Named(zone) => offset_at(zone, local_micros.div_euclid(1_000_000))?,
        };
        local_micros.checked_sub(offset * 1_000_000)
    }

    /// A local day in days since 1970-01-01.
    #[must_use]
    pub fn parse_date(&self, text: &[u8]) -> Option<i32> {
        let fields = self.fields(text)?;
        let next_day = match fields.time_of_day() {
            Some((next_day, _)) => next_day,
            None if fields.has_no_time() => 0,
            None => return None,
        };
        Some(fields.day()? + next_day)
    }

    /// A time of day in µs since midnight.
    #[must_use]
    pub fn parse_time(&self, text: &[u8]) -> Option<i64> {
        self.fields(text)?.time_of_day().map(|(_, micros)| micros)
    }

    fn fields(&self, text: &[u8]) -> Option<Fields> {
        let mut fields = Fields::default();
        let rest = read(&self.items, text, &mut fields)?;
        rest.is_empty().then_some(fields)
    }
}

/// The zone's offset in seconds at a local time, as `java.time` resolves it: where the clock was put back the earlier
/// of the two instants, where it was put forward the offset before, which moves the time on by the gap.
fn offset_at(zone: Tz, local_seconds: i64) -> Option<i64> {
    let local = DateTime::from_timestamp(local_seconds, 0)?.naive_utc();
    let offset = match zone.offset_from_local_datetime(&local) {
        MappedLocalTime::Single(offset) => offset,
        MappedLocalTime::Ambiguous(one, other) => {
            return Some(i64::from(one.fix().local_minus_utc().max(other.fix().local_minus_utc())));
        }
        MappedLocalTime::None => zone.offset_from_utc_datetime(&local.checked_sub_signed(Duration::days(1))?),
    };
    Some(i64::from(offset.fix().local_minus_utc()))
}

/// Whether the text is a time of day in the format, ISO 8601 `HH:mm`, `HH:mm:ss` or `HH:mm:ss.SSSSSSSSS` without one.
#[must_use]
pub fn is_time(format: Option<&TimeFormat>, text: &[u8]) -> bool {
    match format {
        Some(format) => format.parse_time(text).is_some(),
        None => parse_iso_time(text).is_some(),
    }
}

#[cfg(test)]
mod tests;
