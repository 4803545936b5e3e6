//! Lengths of time as people write them, in files of a project and on the command line.
//!
//! Pure. Invariant: a length is never below nought.

use std::time::Duration;

use crate::compile::duration;

/// `90s`, `15m`, `2h`, `1d`, or an ISO 8601 duration.
#[must_use]
pub fn length(text: &str) -> Option<Duration> {
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    if number.is_empty() {
        return duration::iso(text);
    }
    let unit = if unit == "m" { "min" } else { unit };
    duration::with_unit(number.trim().parse().ok().filter(|number| *number >= 0.0)?, unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("90s", Some(90.0))]
    #[case("15m", Some(900.0))]
    #[case("1.5h", Some(5400.0))]
    #[case("PT15M", Some(900.0))]
    #[case("m", None)]
    #[case("-5m", None)]
    #[case("5", None)]
    fn lengths_of_time(#[case] text: &str, #[case] seconds: Option<f64>) {
        assert_eq!(length(text).map(|length| length.as_secs_f64()), seconds);
    }
}
