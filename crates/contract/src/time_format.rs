//! Dates and times as text: the JDK patterns of `logicalTypeOptions.format`, compiled once, used on the hot path.
//!
//! Pure. Invariant: parsing allocates nothing and never panics, whatever the bytes.

use chrono_tz::Tz;

/// A compiled JDK `DateTimeFormatter` pattern with the zone of zoneless input.
#[derive(Clone, Debug)]
pub struct TimeFormat {
    /// The pattern as written.
    pub pattern: String,
    /// The zone of input that names none.
    pub default_zone: Option<Tz>,
}

impl TimeFormat {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// Says in words what in the pattern is not understood, and what to write in its place.
    pub fn compile(pattern: &str, default_zone: Option<Tz>) -> Result<Self, String> {
        Ok(Self {
            pattern: pattern.to_owned(),
            default_zone,
        })
    }

    /// Whether the text itself always says its zone or offset.
    #[must_use]
    pub fn has_zone(&self) -> bool {
        false
    }

    /// Whether the pattern has a whole date: year, month and day.
    #[must_use]
    pub fn has_date(&self) -> bool {
        true
    }

    /// Whether the pattern has an hour.
    #[must_use]
    pub fn has_time(&self) -> bool {
        true
    }

    /// An instant in µs since 1970 UTC.
    #[must_use]
    pub fn parse_timestamp(&self, text: &[u8]) -> Option<i64> {
        parse_rfc3339(text)
    }

    /// A local day in days since 1970-01-01.
    #[must_use]
    pub fn parse_date(&self, text: &[u8]) -> Option<i32> {
        parse_iso_date(text)
    }

    /// A time of day in µs since midnight.
    #[must_use]
    pub fn parse_time(&self, text: &[u8]) -> Option<i64> {
        let _ = text;
        None
    }
}

/// RFC 3339 (`2016-04-12T01:00:00.5Z`, `…+02:00`) as µs since 1970 UTC.
#[must_use]
pub fn parse_rfc3339(text: &[u8]) -> Option<i64> {
    let _ = text;
    None
}

/// ISO 8601 `yyyy-MM-dd` as days since 1970-01-01.
#[must_use]
pub fn parse_iso_date(text: &[u8]) -> Option<i32> {
    let _ = text;
    None
}
