//! ISO 8601 and RFC 3339 by hand: the forms of input whose contract names no pattern, and the arithmetic of days.
//!
//! Invariant: what is read is a day and a time that exist; nothing is allocated.

/// RFC 3339 (`2016-04-12T01:00:00.5Z`, `…+02:00`) as µs since 1970 UTC. As the RFC allows, `t`, `z` and a space in
/// place of `T` are read too, and second 60, as the second after it. Digits past the µs are cut off.
#[must_use]
pub fn parse_rfc3339(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_first_chunk::<10>()?;
    let (time, rest) = rest.split_first_chunk::<9>()?;
    if !matches!(time[0], b'T' | b't' | b' ') {
        return None;
    }
    let days = iso_days(date)?;
    let [_, h0, h1, c0, m0, m1, c1, s0, s1] = *time;
    let (hour, minute, second) = (two(h0, h1)?, two(m0, m1)?, two(s0, s1)?);
    if c0 != b':' || c1 != b':' || hour > 23 || minute > 59 || second > 60 || (second == 60 && minute != 59) {
        return None;
    }
    let (micros, rest) = fraction(rest)?;
    let offset = match *rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let (hours, minutes) = (two(h0, h1)?, two(m0, m1)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = i64::from(hours * 3600 + minutes * 60);
            if sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let seconds = i64::from(days) * 86_400 + i64::from(hour * 3600 + minute * 60 + second) - offset;
    Some(seconds * 1_000_000 + i64::from(micros))
}

/// ISO 8601 `yyyy-MM-dd` as days since 1970-01-01.
#[must_use]
pub fn parse_iso_date(text: &[u8]) -> Option<i32> {
    iso_days(text.try_into().ok()?)
}

/// ISO 8601 `HH:mm[:ss[.S…]]` as µs since midnight.
#[must_use]
pub fn parse_iso_time(text: &[u8]) -> Option<i64> {
    let (&[h0, h1, b':', m0, m1], rest) = text.split_first_chunk::<5>()? else { return None };
    let (hour, minute) = (two(h0, h1)?, two(m0, m1)?);
    let (second, micros) = match rest {
        [] => (0, 0),
        &[b':', s0, s1, ref rest @ ..] => {
            let (micros, rest) = fraction(rest)?;
            if !rest.is_empty() {
                return None;
            }
            (two(s0, s1)?, micros)
        }
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(i64::from(hour * 3600 + minute * 60 + second) * 1_000_000 + i64::from(micros))
}

#[inline]
fn iso_days(text: &[u8; 10]) -> Option<i32> {
    let [y0, y1, y2, y3, d0, m0, m1, d1, t0, t1] = *text;
    if d0 != b'-' || d1 != b'-' {
        return None;
    }
    let year = two(y0, y1)? * 100 + two(y2, y3)?;
    days_from_civil(i32::try_from(year).ok()?, two(m0, m1)?, two(t0, t1)?)
}

/// A point and at least one digit, or nothing; the µs and what follows.
#[inline]
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let [b'.', digits @ ..] = text else { return Some((0, text)) };
    let (mut micros, mut count) = (0, 0);
    while let Some(digit) = digits.get(count).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10) {
        if count < 6 {
            micros = micros * 10 + u32::from(digit);
        }
        count += 1;
    }
    if count == 0 {
        return None;
    }
    for _ in count..6 {
        micros *= 10;
    }
    Some((micros, digits.get(count..)?))
}

/// Two digits.
#[inline(always)]
pub(super) fn two(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then_some(u32::from(tens) * 10 + u32::from(ones))
}

/// Days since 1970-01-01 of a day in the proleptic Gregorian calendar; none where there is no such day.
#[inline]
pub(super) fn days_from_civil(year: i32, month: u32, day: u32) -> Option<i32> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if day == 0 || day > last {
        return None;
    }
    // Years begin in March here, so that the leap day is a year's last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = of_era * 365 + of_era / 4 - of_era / 100 + i32::try_from(of_year).ok()?;
    Some(era * 146_097 + days - 719_468)
}
