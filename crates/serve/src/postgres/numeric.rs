//! Numbers as PostgreSQL writes them: floats in their shortest form, NUMERIC in digits of ten thousand.

use bytes::{BufMut as _, BytesMut};

/// A float as PostgreSQL 12 and later write it, from its shortest digits in the form `1.5e3`; `digits` is where the form
/// with an exponent begins.
pub fn float(value: f64, shortest: &str, digits: i32) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    if exponent < -4 || exponent >= digits {
        let way = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{way}{:02}", exponent.abs());
    }
    let figures: String = mantissa.chars().filter(|sign| *sign != '.').collect();
    let point = exponent + 1;
    let Ok(before) = usize::try_from(point) else {
        return format!("{sign}0.{}{figures}", "0".repeat(point.unsigned_abs() as usize));
    };
    if before == 0 {
        return format!("{sign}0.{figures}");
    }
    if figures.len() <= before {
        return format!("{sign}{figures}{}", "0".repeat(before - figures.len()));
    }
    let (whole, rest) = figures.split_at(before);
    format!("{sign}{whole}.{rest}")
}

/// A decimal number in PostgreSQL's binary form: groups of four decimal digits around the point.
pub fn binary(value: i128, scale: i8, out: &mut BytesMut) {
    let fraction = usize::try_from(scale).unwrap_or(0);
    let zeros = usize::from(scale.min(0).unsigned_abs());
    let digits = format!("{}{}", value.unsigned_abs(), "0".repeat(zeros));
    let padded = format!("{digits:0>width$}", width = fraction + 1);
    let (whole, rest) = padded.split_at(padded.len() - fraction);
    let whole = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
    let rest = format!("{rest}{}", "0".repeat((4 - rest.len() % 4) % 4));
    let group = |text: &[u8]| text.iter().fold(0_i16, |sum, digit| sum * 10 + i16::from(digit - b'0'));
    let mut groups: Vec<i16> = whole.as_bytes().chunks(4).chain(rest.as_bytes().chunks(4)).map(group).collect();
    let mut weight = i16::try_from(whole.len() / 4).unwrap_or(i16::MAX) - 1;
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    while groups.last() == Some(&0) {
        groups.pop();
    }
    out.put_u16(u16::try_from(groups.len()).unwrap_or(u16::MAX));
    out.put_i16(if groups.is_empty() { 0 } else { weight });
    out.put_u16(if value < 0 { 0x4000 } else { 0 });
    out.put_u16(u16::try_from(fraction).unwrap_or(0));
    groups.into_iter().for_each(|group| out.put_i16(group));
}

/// The text of a number in that form; none when it is no such form.
pub fn text(mut body: &[u8]) -> Option<String> {
    let mut next = || {
        let (two, rest) = body.split_first_chunk::<2>()?;
        body = rest;
        Some(u16::from_be_bytes(*two))
    };
    let (count, weight, sign, scale) = (next()?, next()?.cast_signed(), next()?, next()?);
    match sign {
        0 | 0x4000 => {}
        0xC000 => return Some("NaN".to_owned()),
        0xD000 => return Some("Infinity".to_owned()),
        0xF000 => return Some("-Infinity".to_owned()),
        _ => return None,
    }
    let groups: Vec<u16> = (0..count).map(|_| next().filter(|group| *group < 10_000)).collect::<Option<_>>()?;
    // More than any decimal number has that is computed with here.
    if weight > 100 || scale > 1000 || weight < -250 {
        return None;
    }
    let at = |place: i32| {
        let index = usize::try_from(i32::from(weight) - place).ok();
        index.and_then(|index| groups.get(index)).copied().unwrap_or(0)
    };
    let whole: String = (0..=i32::from(weight).max(0)).rev().map(|place| format!("{:04}", at(place))).collect();
    let places = i32::from(scale).div_euclid(4) + 1;
    let fraction: String = (1..=places).map(|place| format!("{:04}", at(-place))).collect();
    let whole = whole.trim_start_matches('0');
    let sign = if sign == 0 { "" } else { "-" };
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = fraction.get(..usize::from(scale))?;
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0.0, "0")]
    #[case(-0.0, "-0")]
    #[case(1.5, "1.5")]
    #[case(100.0, "100")]
    #[case(0.0001, "0.0001")]
    #[case(0.00001, "1e-05")]
    #[case(1e300, "1e+300")]
    #[case(123_456_789_012_345.0, "123456789012345")]
    #[case(1e15, "1e+15")]
    #[case(-12.25, "-12.25")]
    #[case(f64::NAN, "NaN")]
    #[case(f64::NEG_INFINITY, "-Infinity")]
    fn floats_are_written_as_postgresql_writes_them(#[case] value: f64, #[case] text: &str) {
        assert_eq!(float(value, &format!("{value:e}"), 15), text);
    }

    #[rstest]
    #[case(0, 0, "0")]
    #[case(0, 2, "0.00")]
    #[case(12_345, 2, "123.45")]
    #[case(-1, 4, "-0.0001")]
    #[case(100_000_000, 0, "100000000")]
    #[case(5, -3, "5000")]
    #[case(170_141_183_460_469_231_731_687_303_715_884_105_727, 38, "1.70141183460469231731687303715884105727")]
    fn decimals_come_back_from_their_binary_form(#[case] value: i128, #[case] scale: i8, #[case] shown: &str) {
        let mut out = BytesMut::new();
        binary(value, scale, &mut out);
        assert_eq!(text(&out).as_deref(), Some(shown));
    }

    #[test]
    fn what_is_no_number_is_none() {
        for body in [&b""[..], b"\0\x01\0\0\0\0\0\0", b"\0\x01\0\0\0\0\0\0\x7f\xff", b"\0\0\0\0\x12\x34\0\0"] {
            assert_eq!(text(body), None, "{body:?}");
        }
    }
}
