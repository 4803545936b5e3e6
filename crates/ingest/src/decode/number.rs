//! Numbers as a record has them, read exactly: integers to the last digit, floating point as IEEE 754 rounds.
//!
//! Invariant: a value is given only when the type can hold what was written; 1e999 is no number of any column.

/// A number's parts, its grammar checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    /// Whether a minus stands before it.
    pub(super) negative: bool,
    /// The digits before and after the point; right only while there are at most [`EXACT_DIGITS`].
    pub(super) mantissa: u64,
    /// How many digits there are, leading zeros included.
    pub(super) digits: usize,
    /// How many of them stand after the point.
    pub(super) fraction: usize,
    /// The exponent as written.
    pub(super) exponent: i64,
    /// Whether there is neither point nor exponent.
    pub(super) plain: bool,
}

/// So many digits always fit into 64 bits.
const EXACT_DIGITS: usize = 18;

/// The powers of ten that a double holds exactly.
pub(super) const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

impl Number {
    /// As a 64-bit integer; `5.0` and `5e3` are whole, `5.5` is not. `text` is the number as written.
    #[inline]
    pub(super) fn to_i64(self, text: &str) -> Option<i64> {
        if self.plain && self.digits <= EXACT_DIGITS {
            let value = self.mantissa.cast_signed();
            return Some(if self.negative { -value } else { value });
        }
        whole(text)
    }

    /// As a double, rounded to nearest; none where it is larger than any double.
    #[inline]
    pub(super) fn to_f64(self, text: &str) -> Option<f64> {
        // Clinger's fast path: both operands are exact, so the one operation rounds as it should.
        let exponent = self.exponent - self.fraction as i64;
        if self.digits <= EXACT_DIGITS
            && self.mantissa <= 1 << 53
            && let Some(power) = usize::try_from(exponent.unsigned_abs()).ok().and_then(|e| POWERS.get(e))
        {
            let value = self.mantissa as f64;
            let value = if exponent < 0 { value / power } else { value * power };
            return Some(if self.negative { -value } else { value });
        }
        text.parse().ok().filter(|value: &f64| value.is_finite())
    }

    /// As a single-precision number, rounded once.
    pub(super) fn to_f32(self, text: &str) -> Option<f32> {
        text.parse().ok().filter(|value: &f32| value.is_finite())
    }
}

/// The whole value of a number in JSON's grammar when it has one within 64 bits.
pub(super) fn whole(text: &str) -> Option<i64> {
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (mut significant, mut zeros, mut fraction, mut after_point) = (0_i128, 0_u32, 0_i64, false);
    for byte in digits.bytes() {
        match byte {
            b'0' => zeros += u32::from(significant != 0),
            b'1'..=b'9' => {
                let power = 10_i128.checked_pow(zeros.checked_add(1)?)?;
                significant = significant.checked_mul(power)?.checked_add(i128::from(byte - b'0'))?;
                zeros = 0;
            }
            b'.' => after_point = true,
            _ => continue,
        }
        fraction += i64::from(after_point && byte != b'.');
    }
    if significant == 0 {
        return Some(0);
    }
    // Zeros at the end were not multiplied in, so 1.50e1 is 15 and 1.5 has no whole value.
    let exponent = exponent.parse::<i64>().ok()?.checked_sub(fraction)?.checked_add(i64::from(zeros))?;
    let value = significant.checked_mul(10_i128.checked_pow(u32::try_from(exponent).ok()?)?)?;
    i64::try_from(if digits.starts_with('-') { -value } else { value }).ok()
}
