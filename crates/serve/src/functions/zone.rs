//! The zone in which a query computes: one with a name, whose offset changes with the year, or an offset alone.
//!
//! Read from a client's `sqlTimeZone` and from the zones that functions name. Invariant: what has another offset than
//! UTC is never taken for UTC, but for a name that nobody knows, as in Druid.

use std::borrow::Cow;
use std::str::FromStr;

use chrono::{DateTime, FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, Offset as _, TimeZone, Utc};
use chrono_tz::{OffsetName as _, Tz};

use super::iso::parse_offset;

/// A time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Zone {
    /// One of the IANA data base.
    Named(Tz),
    /// The same offset at all times.
    Offset(FixedOffset),
}

/// Java's names of three letters, which Druid takes where the IANA data base has none. Their hours change in summer where
/// those of the place do.
const SHORT_NAMES: [(&str, &str); 25] = [
    ("ACT", "Australia/Darwin"),
    ("AET", "Australia/Sydney"),
    ("AGT", "America/Argentina/Buenos_Aires"),
    ("ART", "Africa/Cairo"),
    ("AST", "America/Anchorage"),
    ("BET", "America/Sao_Paulo"),
    ("BST", "Asia/Dhaka"),
    ("CAT", "Africa/Harare"),
    ("CNT", "America/St_Johns"),
    ("CST", "America/Chicago"),
    ("CTT", "Asia/Shanghai"),
    ("EAT", "Africa/Addis_Ababa"),
    ("ECT", "Europe/Paris"),
    ("IET", "America/Indiana/Indianapolis"),
    ("IST", "Asia/Kolkata"),
    ("JST", "Asia/Tokyo"),
    ("MIT", "Pacific/Apia"),
    ("NET", "Asia/Yerevan"),
    ("NST", "Pacific/Auckland"),
    ("PLT", "Asia/Karachi"),
    ("PNT", "America/Phoenix"),
    ("PRT", "America/Puerto_Rico"),
    ("PST", "America/Los_Angeles"),
    ("SST", "Pacific/Guadalcanal"),
    ("VST", "Asia/Ho_Chi_Minh"),
];

impl Zone {
    /// UTC
    pub const UTC: Self = Self::Named(Tz::UTC);

    /// A zone by its name: `Asia/Kathmandu`, `+05:45`, `PST`, `GMT+3`.
    pub fn of(name: &str) -> Option<Self> {
        if let Ok(zone) = name.parse() {
            return Some(Self::Named(zone));
        }
        if let Some((_, place)) = SHORT_NAMES.iter().find(|(short, _)| *short == name) {
            return place.parse().ok().map(Self::Named);
        }
        let seconds = match name.strip_prefix("GMT") {
            Some(offset) => parse_offset(offset).or_else(|| parse_offset(&with_two_digits(offset)?))?,
            None => parse_offset(name)?,
        };
        let offset = FixedOffset::east_opt(i32::try_from(seconds).ok()?)?;
        Some(if seconds == 0 { Self::UTC } else { Self::Offset(offset) })
    }

    /// What it is called.
    pub fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Named(zone) => Cow::Borrowed(zone.name()),
            Self::Offset(offset) => Cow::Owned(offset.to_string()),
        }
    }

    /// What its clocks are called at an instant: `CEST`, `+05:45`.
    pub fn abbreviation(&self, at: DateTime<Utc>) -> String {
        match self {
            Self::Named(zone) => {
                let offset = zone.offset_from_utc_datetime(&at.naive_utc());
                offset.abbreviation().map_or_else(|| offset.fix().to_string(), str::to_owned)
            }
            Self::Offset(offset) => offset.to_string(),
        }
    }
}

/// `+3:30` as `+03:30`, for the offsets that stand after GMT.
fn with_two_digits(offset: &str) -> Option<String> {
    let (sign, rest) = offset.split_at_checked(1)?;
    Some(format!("{sign}0{rest}"))
}

impl FromStr for Zone {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::of(name).ok_or("not a time zone")
    }
}

impl From<Tz> for Zone {
    fn from(zone: Tz) -> Self {
        Self::Named(zone)
    }
}

impl TimeZone for Zone {
    type Offset = FixedOffset;

    fn from_offset(offset: &FixedOffset) -> Self {
        Self::Offset(*offset)
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<FixedOffset> {
        match self {
            Self::Named(zone) => zone.offset_from_local_date(local).map(|offset| offset.fix()),
            Self::Offset(offset) => MappedLocalTime::Single(*offset),
        }
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
        match self {
            Self::Named(zone) => zone.offset_from_local_datetime(local).map(|offset| offset.fix()),
            Self::Offset(offset) => MappedLocalTime::Single(*offset),
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> FixedOffset {
        match self {
            Self::Named(zone) => zone.offset_from_utc_date(utc).fix(),
            Self::Offset(offset) => *offset,
        }
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> FixedOffset {
        match self {
            Self::Named(zone) => zone.offset_from_utc_datetime(utc).fix(),
            Self::Offset(offset) => *offset,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("+05:45", Some("+05:45"))]
    #[case("-0330", Some("-03:30"))]
    #[case("-00:30", Some("-00:30"))]
    #[case("+05", Some("+05:00"))]
    #[case("+05:45:30", Some("+05:45:30"))]
    #[case("GMT+3", Some("+03:00"))]
    #[case("GMT-3:30", Some("-03:30"))]
    #[case("PST", Some("America/Los_Angeles"))]
    #[case("EST", Some("EST"))]
    #[case("+00:00", Some("UTC"))]
    #[case("Etc/GMT-3", Some("Etc/GMT-3"))]
    #[case("+5:45", None)]
    #[case("+24:00", None)]
    #[case("+05:60", None)]
    #[case("UTC+3", None)]
    #[case("Nowhere/Land", None)]
    fn names(#[case] name: &str, #[case] zone: Option<&str>) {
        assert_eq!(Zone::of(name).map(|zone| zone.name()).as_deref(), zone);
    }

    #[test]
    fn every_short_name_has_a_place() {
        for (short, place) in SHORT_NAMES {
            assert!(place.parse::<Tz>().is_ok(), "{short} has none");
        }
    }
}
