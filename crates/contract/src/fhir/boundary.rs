//! The least and the greatest value that an inexact date, time or number may stand for.
//!
//! As SQL on FHIR has it: moments with milliseconds, and where no zone is written the furthest that there is. Invariant:
//! what has not the form of a date or time has no boundary.

/// A day, a moment or a time of day, as far as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment<'a> {
    pub(super) day: Option<&'a str>,
    pub(super) time: Option<&'a str>,
    pub(super) zone: Option<&'a str>,
}

/// Takes a text apart that has the form of one.
pub(super) fn moment(text: &str) -> Option<Moment<'_>> {
    let (day, rest) = match text.split_once('T') {
        Some((day, rest)) => (Some(day), Some(rest)),
        None if text.contains(':') => (None, Some(text)),
        None => (Some(text), None),
    };
    let zone_at = |rest: &str| rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = match rest {
        Some(rest) => rest.split_at(zone_at(rest)),
        None => ("", ""),
    };
    let some = |text: &'_ str| !text.is_empty();
    let moment = Moment { day, time: Some(time).filter(|t| some(t)), zone: Some(zone).filter(|z| some(z)) };
    let right = day.is_none_or(is_day)
        && moment.time.is_none_or(is_time)
        && moment.zone.is_none_or(is_zone)
        && (rest.is_none() || moment.time.is_some());
    right.then_some(moment)
}

fn is_day(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let digits = |part: &&str, length: usize| part.len() == length && part.bytes().all(|b| b.is_ascii_digit());
    let range = |part: Option<&&str>, last: u32| {
        part.is_none_or(|part| digits(part, 2) && part.parse().is_ok_and(|n: u32| (1..=last).contains(&n)))
    };
    parts.len() <= 3
        && parts.first().is_some_and(|year| digits(year, 4))
        && range(parts.get(1), 12)
        && range(parts.get(2), days_of(parts.first(), parts.get(1)))
}

fn days_of(year: Option<&&str>, month: Option<&&str>) -> u32 {
    let year: u32 = year.and_then(|year| year.parse().ok()).unwrap_or(0);
    let leaps = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month.and_then(|month| month.parse::<u32>().ok()) {
        Some(4 | 6 | 9 | 11) => 30,
        Some(2) if leaps => 29,
        Some(2) => 28,
        _ => 31,
    }
}

fn is_time(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let parts: Vec<&str> = whole.split(':').collect();
    let two = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    let below =
        |part: Option<&&str>, last: u32| part.is_none_or(|part| two(part) && part.parse().is_ok_and(|n: u32| n < last));
    parts.len() <= 3
        && below(parts.first(), 24)
        && below(parts.get(1), 60)
        && below(parts.get(2), 61)
        && fraction
            .is_none_or(|digits| parts.len() == 3 && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn is_zone(text: &str) -> bool {
    text == "Z" || text.get(1..).is_some_and(|zone| zone.len() == 5 && is_time(zone))
}

/// The boundary of a text; `instant` says whether a day stands for a moment.
pub(super) fn boundary(text: &str, high: bool, instant: bool) -> Option<String> {
    let Moment { day, time, zone } = moment(text)?;
    let Some(day) = day else { return zone.is_none().then(|| whole_time(time, high)) };
    let day = whole_day(day, high);
    if time.is_none() && !instant {
        return Some(day);
    }
    let furthest = if high { "-12:00" } else { "+14:00" };
    Some(format!("{day}T{}{}", whole_time(time, high), zone.unwrap_or(furthest)))
}

fn whole_day(day: &str, high: bool) -> String {
    let parts: Vec<&str> = day.split('-').collect();
    let month = parts.get(1).copied().unwrap_or(if high { "12" } else { "01" });
    let last = days_of(parts.first(), Some(&month)).to_string();
    let first = if high { last.as_str() } else { "01" };
    format!("{}-{month}-{}", parts.first().unwrap_or(&""), parts.get(2).copied().unwrap_or(first))
}

fn whole_time(time: Option<&str>, high: bool) -> String {
    let full = if high { "23:59:59.999" } else { "00:00:00.000" };
    let time = time.unwrap_or("");
    if time.len() >= full.len() {
        return time.to_owned();
    }
    // What is missing of a fraction is no less: .5 is .500 to .599.
    format!("{time}{}", full.get(time.len()..).unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("2010-10-10", true, "2010-10-10T00:00:00.000+14:00", "2010-10-10T23:59:59.999-12:00")]
    #[case("1970-06", false, "1970-06-01", "1970-06-30")]
    #[case("1972-02", false, "1972-02-01", "1972-02-29")]
    #[case("1900", false, "1900-01-01", "1900-12-31")]
    #[case("12:34", false, "12:34:00.000", "12:34:59.999")]
    #[case("2015-02-07T13:28Z", false, "2015-02-07T13:28:00.000Z", "2015-02-07T13:28:59.999Z")]
    #[case("2015-02-07T13:28:17.239+02:00", true, "2015-02-07T13:28:17.239+02:00", "2015-02-07T13:28:17.239+02:00")]
    fn boundaries(#[case] text: &str, #[case] instant: bool, #[case] low: &str, #[case] high: &str) {
        assert_eq!(boundary(text, false, instant).as_deref(), Some(low));
        assert_eq!(boundary(text, true, instant).as_deref(), Some(high));
    }

    #[rstest]
    #[case("")]
    #[case("2010-13")]
    #[case("2011-02-29")]
    #[case("abcd")]
    #[case("2010-10-10T")]
    #[case("2010-10-10T25:00")]
    #[case("2010-10-10T10:00+2")]
    #[case("12:34:00Z")]
    fn what_is_no_moment_has_none(#[case] text: &str) {
        assert_eq!(boundary(text, false, true), None);
    }
}
