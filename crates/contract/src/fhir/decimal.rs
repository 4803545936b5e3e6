//! Decimal numbers as FHIRPath reckons with them: exact, within a number of digits.
//!
//! Invariant: no result is rounded but that of a division; what does not fit is no number.

use std::cmp::Ordering;
use std::fmt;

/// Digits after the point that a division gives.
const DIVIDED_DIGITS: u32 = 12;
/// Digits after the point beyond which a number is not read.
const SCALE_MAX: u32 = 28;

/// A number: `units` of 10 to the power of minus `scale`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal {
    units: i128,
    scale: u32,
}

impl Decimal {
    /// Of a number as JSON writes it; none where it has too many digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let units: i128 = format!("{whole}{fraction}").parse().ok()?;
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        if let Ok(scale) = u32::try_from(scale) {
            return (scale <= SCALE_MAX).then_some(Self { units, scale });
        }
        let units = units.checked_mul(10_i128.checked_pow(scale.unsigned_abs())?)?;
        Some(Self { units, scale: 0 })
    }

    fn scaled(self, scale: u32) -> Option<i128> {
        self.units.checked_mul(10_i128.checked_pow(scale.checked_sub(self.scale)?)?)
    }

    fn both(self, other: Self) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        Some((self.scaled(scale)?, other.scaled(scale)?, scale))
    }

    pub(super) fn add(self, other: Self) -> Option<Self> {
        let (left, right, scale) = self.both(other)?;
        Some(Self { units: left.checked_add(right)?, scale })
    }

    pub(super) fn negated(self) -> Self {
        Self { units: -self.units, ..self }
    }

    pub(super) fn multiply(self, other: Self) -> Option<Self> {
        Some(Self { units: self.units.checked_mul(other.units)?, scale: self.scale + other.scale })
    }

    /// None by zero.
    pub(super) fn divide(self, other: Self) -> Option<Self> {
        let (left, right, _) = self.both(other)?;
        let left = left.checked_mul(10_i128.pow(DIVIDED_DIGITS + 1))?;
        let more = left.checked_div(right)?;
        let units = (more + 5 * more.signum()) / 10;
        Some(Self { units, scale: DIVIDED_DIGITS })
    }

    pub(super) fn compare(self, other: Self) -> Option<Ordering> {
        self.both(other).map(|(left, right, _)| left.cmp(&right))
    }

    /// The least or the greatest number that this one may stand for: half a unit of its last digit away.
    pub(super) fn boundary(self, high: bool) -> Option<Self> {
        let units = self.units.checked_mul(10)?.checked_add(if high { 5 } else { -5 })?;
        Some(Self { units, scale: self.scale + 1 })
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = self.scale as usize;
        let digits = format!("{:0width$}", self.units.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let fraction = fraction.trim_end_matches('0');
        let sign = if self.units < 0 { "-" } else { "" };
        match fraction {
            "" => write!(f, "{sign}{whole}"),
            _ => write!(f, "{sign}{whole}.{fraction}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn sums_and_products_are_exact() {
        assert_eq!(of("0.1").add(of("0.2")).unwrap().to_string(), "0.3");
        assert_eq!(of("-1.50").multiply(of("2")).unwrap().to_string(), "-3");
        assert_eq!(of("3").divide(of("2")).unwrap().to_string(), "1.5");
        assert_eq!(of("-2").divide(of("3")).unwrap().to_string(), "-0.666666666667");
        assert!(of("1").divide(of("0")).is_none());
        assert_eq!(of("1.20e2").to_string(), "120");
        assert_eq!(of("12e-3").to_string(), "0.012");
        assert_eq!(of("1.20").compare(of("1.2")), Some(Ordering::Equal));
    }

    #[test]
    fn numbers_beyond_reckoning_are_none() {
        for text in ["1e400", "1e-400", "1e99999999999", &"9".repeat(50), "1e-29"] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
        assert!(of("1e30").multiply(of("1e30")).is_none());
    }

    #[test]
    fn a_boundary_is_half_a_last_digit_away() {
        assert_eq!(of("1.587").boundary(false).unwrap().to_string(), "1.5865");
        assert_eq!(of("1.0").boundary(true).unwrap().to_string(), "1.05");
        assert_eq!(of("-1").boundary(true).unwrap().to_string(), "-0.5");
    }
}
