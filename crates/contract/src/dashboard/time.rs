//! Stretches and steps of time as dashboards write them: `last 24 hours`, `hour`.
//!
//! Invariant: what is written by `Display` is read as the same.

use std::fmt;

/// A stretch of time that ends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// So much before now: `last 24 hours`.
    Last {
        /// How many.
        count: u32,
        /// Of what.
        unit: PeriodUnit,
    },
    /// Since midnight, UTC.
    Today,
    /// The day before, UTC.
    Yesterday,
    /// Everything.
    All,
}

/// A unit of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeriodUnit {
    /// Sixty seconds.
    Minute,
    /// Sixty minutes.
    Hour,
    /// A day.
    Day,
    /// Seven days.
    Week,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
}

impl PeriodUnit {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// The word for one of it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }
}

impl Period {
    /// What is shown where nobody says: the last seven days.
    pub const DEFAULT: Self = Self::Last { count: 7, unit: PeriodUnit::Day };

    /// Reads `last 24 hours`, `today`, `yesterday` or `all`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        match text.as_str() {
            "today" => return Some(Self::Today),
            "yesterday" => return Some(Self::Yesterday),
            "all" => return Some(Self::All),
            _ => {}
        }
        let mut words = text.strip_prefix("last ")?.split_whitespace();
        let first = words.next()?;
        let (count, word) = match words.next() {
            Some(word) => (first.parse().ok().filter(|count| (1..=10_000).contains(count))?, word),
            None => (1, first),
        };
        let unit = PeriodUnit::ALL.into_iter().find(|unit| word.strip_suffix('s').unwrap_or(word) == unit.as_str())?;
        words.next().is_none().then_some(Self::Last { count, unit })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last { count: 1, unit } => write!(f, "last {}", unit.as_str()),
            Self::Last { count, unit } => write!(f, "last {count} {}s", unit.as_str()),
            Self::Today => f.write_str("today"),
            Self::Yesterday => f.write_str("yesterday"),
            Self::All => f.write_str("all"),
        }
    }
}

/// A step of time, one of those that Superset and Druid know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grain(usize);

/// Words and ISO 8601 durations, from the finest on.
const GRAINS: [(&str, &str); 11] = [
    ("second", "PT1S"),
    ("minute", "PT1M"),
    ("5 minutes", "PT5M"),
    ("15 minutes", "PT15M"),
    ("30 minutes", "PT30M"),
    ("hour", "PT1H"),
    ("6 hours", "PT6H"),
    ("day", "P1D"),
    ("week", "P1W"),
    ("month", "P1M"),
    ("year", "P1Y"),
];

impl Grain {
    /// An hour.
    pub const HOUR: Self = Self(5);
    /// A day.
    pub const DAY: Self = Self(7);

    /// Reads the word, or the ISO 8601 duration.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        GRAINS.iter().position(|(word, iso)| *word == text || *iso == text).map(Self)
    }

    /// All words, from the finest on.
    #[must_use]
    pub fn words() -> Vec<&'static str> {
        GRAINS.iter().map(|(word, _)| *word).collect()
    }

    /// As ISO 8601: `PT1H`.
    #[must_use]
    pub fn iso(self) -> &'static str {
        GRAINS.get(self.0).map_or("P1D", |(_, iso)| iso)
    }

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        GRAINS.get(self.0).map_or("day", |(word, _)| word)
    }
}

impl fmt::Display for Grain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("last 24 hours")]
    #[case("last day")]
    #[case("last 2 weeks")]
    #[case("today")]
    #[case("yesterday")]
    #[case("all")]
    fn a_period_is_written_as_it_is_read(#[case] text: &str) {
        assert_eq!(Period::parse(text).map(|period| period.to_string()).as_deref(), Some(text));
    }

    #[rstest::rstest]
    #[case("24 hours")]
    #[case("last 0 days")]
    #[case("last few days")]
    #[case("last 3 days ago")]
    #[case("last")]
    #[case("")]
    fn what_is_no_period_is_none(#[case] text: &str) {
        assert_eq!(Period::parse(text), None);
    }

    #[test]
    fn grains_are_known_by_word_and_duration() {
        for (word, iso) in GRAINS {
            assert_eq!(Grain::parse(word), Grain::parse(iso));
            assert_eq!(Grain::parse(word).map(Grain::iso), Some(iso));
        }
        assert_eq!((Grain::HOUR.as_str(), Grain::DAY.as_str()), ("hour", "day"));
    }
}
