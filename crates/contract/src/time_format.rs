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
