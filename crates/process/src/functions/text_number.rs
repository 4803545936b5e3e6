//! Numbers as text, the way Spark's casts read and write them.
//!
//! Pure; used by casts and by functions that print numbers. Invariant: a text that is no number is `None`, and what is
//! written is read again as the same number.

use crate::functions::text_time::trimmed;

/// A double as Java prints it: with a point always, and with an exponent from 10^7 up and below 10^-3.
pub(crate) fn double_text(value: f64) -> String {
    real_text(value, value.abs(), || format!("{value:e}"))
}

/// A float, by its own shortest digits.
pub(crate) fn float_text(value: f32) -> String {
    real_text(f64::from(value), f64::from(value.abs()), || format!("{value:e}"))
}

fn real_text(value: f64, size: f64, scientific: impl Fn() -> String) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0.0" } else { "0.0" }.to_owned();
    }
    let text = scientific();
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |m| ("-", m));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if !(1e-3..1e7).contains(&size) {
        let (first, rest) = digits.split_at(1.min(digits.len()));
        let rest = if rest.is_empty() { "0" } else { rest };
        return format!("{sign}{first}.{rest}E{exponent}");
    }
    let point = exponent + 1;
    let length = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if point <= 0 {
        let zeros = "0".repeat(usize::try_from(-point).unwrap_or(0));
        format!("{sign}0.{zeros}{digits}")
    } else if point >= length {
        let zeros = "0".repeat(usize::try_from(point - length).unwrap_or(0));
        format!("{sign}{digits}{zeros}.0")
    } else {
        let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
        format!("{sign}{whole}.{fraction}")
    }
}

/// A decimal as Java prints it: with an exponent where more than five noughts would follow the point.
pub(crate) fn decimal_text(value: i128, scale: i32) -> String {
    let digits = value.unsigned_abs().to_string();
    let exponent = i32::try_from(digits.len()).unwrap_or(i32::MAX) - 1 - scale;
    if exponent >= -6 {
        return plain_text(value, scale);
    }
    let sign = if value < 0 { "-" } else { "" };
    let (first, rest) = digits.split_at(1.min(digits.len()));
    let point = if rest.is_empty() { "" } else { "." };
    format!("{sign}{first}{point}{rest}E{exponent}")
}

/// A decimal with all digits of its scale.
pub(crate) fn plain_text(value: i128, scale: i32) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let digits = value.unsigned_abs().to_string();
    let scale = usize::try_from(scale).unwrap_or(0);
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

/// A text as an integer: trimmed, with what follows a point dropped.
pub(crate) fn parse_long(text: &str) -> Option<i64> {
    let text = trimmed(text);
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if rest.is_empty() {
        return None;
    }
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut value: i64 = 0;
    for byte in whole.bytes() {
        if !byte.is_ascii_digit() {
            return None;
        }
        // Negative, since the smallest number has no positive counterpart.
        value = value.checked_mul(10)?.checked_sub(i64::from(byte - b'0'))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// A text as a double, as Java reads it.
pub(crate) fn parse_double(text: &str) -> Option<f64> {
    let text = trimmed(text);
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "inf" | "+inf" | "infinity" | "+infinity" => return Some(f64::INFINITY),
        "-inf" | "-infinity" => return Some(f64::NEG_INFINITY),
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    let number = lower.strip_suffix(['d', 'f']).unwrap_or(&lower);
    let plain = number.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e'));
    let has_digit = number.bytes().any(|b| b.is_ascii_digit());
    if plain && has_digit { number.parse().ok() } else { None }
}

/// A text as digits and a scale: `12.50` is 1250 with scale 2.
pub(crate) fn parse_decimal(text: &str) -> Option<(i128, i32)> {
    let text = trimmed(text);
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => {
            let exponent = text.get(at + 1..)?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            (text.get(..at)?, exponent.parse::<i32>().ok()?)
        }
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.as_bytes().first()? {
        b'-' => (true, mantissa.get(1..)?),
        b'+' => (false, mantissa.get(1..)?),
        _ => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value: i128 = 0;
    let mut scale = 0;
    let mut dropped = false;
    for (byte, after_point) in whole.bytes().map(|b| (b, false)).chain(fraction.bytes().map(|b| (b, true))) {
        if !byte.is_ascii_digit() {
            return None;
        }
        match value.checked_mul(10).and_then(|v| v.checked_add(i128::from(byte - b'0'))) {
            Some(next) if !dropped && next < 10_i128.pow(38) => {
                value = next;
                scale += i32::from(after_point);
            }
            // Digits past the thirty-eighth: of a fraction they are dropped, of a whole number they are too many.
            _ if after_point => dropped = true,
            _ => return None,
        }
    }
    Some((if negative { -value } else { value }, scale.checked_sub(exponent)?))
}

/// A decimal at another scale, rounded half up, when it has the digits.
pub(crate) fn rescaled(value: i128, from: i32, to: i32, precision: i32) -> Option<i128> {
    let made = if to >= from {
        if value == 0 { 0 } else { value.checked_mul(power_of_ten(to - from)?)? }
    } else {
        match power_of_ten(from - to) {
            Some(divisor) => half_up(value, divisor),
            None => 0,
        }
    };
    fits(made, precision).then_some(made)
}

pub(crate) fn fits(value: i128, precision: i32) -> bool {
    power_of_ten(precision).is_none_or(|limit| value.unsigned_abs() < limit.unsigned_abs())
}

pub(crate) fn power_of_ten(exponent: i32) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(exponent).ok()?)
}

pub(crate) fn half_up(value: i128, divisor: i128) -> i128 {
    let (whole, rest) = (value / divisor, value % divisor);
    let up = rest.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2);
    if up { whole + value.signum() } else { whole }
}
