//! Lengths of time as contracts write them.

use std::time::Duration;

const MINUTE: f64 = 60.0;
const HOUR: f64 = 3600.0;
const DAY: f64 = 86_400.0;

/// The units of `slaProperties`, for help lines.
pub(super) const UNITS: &str = "ms, s, min, h, d, w, y";

/// A value with the unit of `slaProperties`; a month has 30 days, a year 365.
pub(crate) fn with_unit(value: f64, unit: &str) -> Option<Duration> {
    let seconds = match unit.to_lowercase().as_str() {
        "ms" | "millisecond" | "milliseconds" => 0.001,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "min" | "mins" | "minute" | "minutes" => MINUTE,
        "h" | "hr" | "hrs" | "hour" | "hours" => HOUR,
        "d" | "day" | "days" => DAY,
        "w" | "wk" | "week" | "weeks" => 7.0 * DAY,
        "mo" | "month" | "months" => 30.0 * DAY,
        "y" | "yr" | "yrs" | "year" | "years" => 365.0 * DAY,
        _ => return None,
    };
    Duration::try_from_secs_f64(value * seconds).ok()
}

/// An ISO 8601 duration: `P7D`, `PT24H`, `P1DT12H30M`; a month has 30 days, a year 365.
pub(crate) fn iso(text: &str) -> Option<Duration> {
    let body = text.strip_prefix('P')?;
    let (days, time) = match body.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (body, ""),
    };
    if body.is_empty() {
        return None;
    }
    let days = parts(days, &[('Y', 365.0 * DAY), ('M', 30.0 * DAY), ('W', 7.0 * DAY), ('D', DAY)])?;
    let time = parts(time, &[('H', HOUR), ('M', MINUTE), ('S', 1.0)])?;
    Duration::try_from_secs_f64(days + time).ok()
}

/// Sums `number unit` parts, whose units stand in the order given.
fn parts(text: &str, units: &[(char, f64)]) -> Option<f64> {
    let mut seconds = 0.0;
    let mut units = units.iter();
    for part in text.split_inclusive(|c: char| c.is_ascii_alphabetic()) {
        let unit = part.chars().next_back()?;
        let number = part.strip_suffix(unit)?;
        if !number.chars().all(|c| c.is_ascii_digit() || c == '.') {
            return None;
        }
        let (_, size) = units.find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * size;
    }
    Some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("PT24H", Some(86_400))]
    #[case("P7D", Some(604_800))]
    #[case("P1DT12H30M5S", Some(131_405))]
    #[case("P2W", Some(1_209_600))]
    #[case("P", None)]
    #[case("PT", None)]
    #[case("24h", None)]
    #[case("PT1M1H", None)]
    #[case("P-1D", None)]
    #[case("P1", None)]
    #[case("P99999999999999999999999Y", None)]
    fn iso_durations(#[case] text: &str, #[case] seconds: Option<u64>) {
        assert_eq!(iso(text), seconds.map(Duration::from_secs));
    }

    #[rstest]
    #[case(5.0, "min", Some(300))]
    #[case(2.0, "days", Some(172_800))]
    #[case(1.0, "y", Some(31_536_000))]
    #[case(1.0, "m", None)]
    #[case(-1.0, "d", None)]
    #[case(f64::NAN, "d", None)]
    fn units(#[case] value: f64, #[case] unit: &str, #[case] seconds: Option<u64>) {
        assert_eq!(with_unit(value, unit), seconds.map(Duration::from_secs));
    }
}
