//! PostgreSQL's numeric, as it travels in binary, exactly as a decimal or as text.
//!
//! Invariant: no digit is lost or rounded; what does not fit is said.

/// Sign words of the binary form (`numeric_send` of PostgreSQL).
const NEGATIVE: u16 = 0x4000;
const NOT_A_NUMBER: u16 = 0xC000;
const INFINITE: u16 = 0xD000;
const MINUS_INFINITE: u16 = 0xF000;
/// Decimal digits of one digit of the form.
const DIGITS: i32 = 4;

/// A numeric in base 10,000.
#[derive(Debug)]
pub(super) struct Numeric<'a> {
    digits: &'a [u8],
    /// The power of 10,000 of the first digit.
    weight: i32,
    sign: u16,
    /// Digits after the point that it is written with.
    scale: u16,
}

impl<'a> Numeric<'a> {
    /// Reads the binary form.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk::<2>()?));
        let (count, weight, sign, scale) = (word(0)?, word(2)?, word(4)?, word(6)?);
        let digits = bytes.get(8..)?;
        #[expect(clippy::cast_possible_wrap, reason = "the weight is a signed word")]
        let weight = i32::from(weight as i16);
        (digits.len() == usize::from(count) * 2).then_some(Self { digits, weight, sign, scale })
    }

    /// Whether it is NaN or an infinity.
    pub(super) fn is_special(&self) -> bool {
        matches!(self.sign, NOT_A_NUMBER | INFINITE | MINUS_INFINITE)
    }

    /// Its digits in base 10,000, each with the power of ten of its last decimal digit.
    fn digits(&self) -> impl Iterator<Item = (i128, i32)> + '_ {
        let digit = |pair: &[u8]| pair.first_chunk::<2>().map_or(0, |pair| i128::from(u16::from_be_bytes(*pair)));
        let powers = (0..).map(|at| DIGITS * (self.weight - at));
        self.digits.chunks(2).map(digit).zip(powers)
    }

    /// The number times ten to the scale; none where that is not whole or too large.
    pub(super) fn decimal(&self, scale: i32) -> Option<i128> {
        if self.is_special() {
            return None;
        }
        let mut sum: i128 = 0;
        for (digit, power) in self.digits() {
            let power = power + scale;
            let ten = 10_i128.checked_pow(power.unsigned_abs());
            let part = match (power >= 0, ten) {
                _ if digit == 0 => 0,
                (true, Some(ten)) => digit.checked_mul(ten)?,
                (false, Some(ten)) if digit % ten == 0 => digit / ten,
                _ => return None,
            };
            sum = sum.checked_add(part)?;
        }
        Some(if self.sign == NEGATIVE { -sum } else { sum })
    }

    /// Its text, as PostgreSQL writes it.
    pub(super) fn text(&self) -> String {
        match self.sign {
            NOT_A_NUMBER => return "NaN".to_owned(),
            INFINITE => return "Infinity".to_owned(),
            MINUS_INFINITE => return "-Infinity".to_owned(),
            _ => {}
        }
        let at = |index: i32| -> u16 {
            let pair = usize::try_from(index).ok().and_then(|index| self.digits.get(index * 2..)?.first_chunk::<2>());
            pair.map_or(0, |pair| u16::from_be_bytes(*pair))
        };
        let mut text = String::new();
        if self.sign == NEGATIVE {
            text.push('-');
        }
        if self.weight < 0 {
            text.push('0');
        }
        for index in 0..=self.weight {
            let digit = at(index);
            text.push_str(&if index == 0 { digit.to_string() } else { format!("{digit:04}") });
        }
        if self.scale > 0 {
            let after: String = (self.weight + 1..)
                .map(|index| format!("{:04}", at(index)))
                .take(usize::from(self.scale).div_ceil(4))
                .collect();
            text.push('.');
            text.push_str(after.get(..usize::from(self.scale)).unwrap_or(&after));
        }
        text
    }
}

/// Precision and scale of a decimal that holds every value of a numeric with this type modifier; none where it has no
/// limits or wider ones than a decimal of 128 bits.
pub(super) fn precision_and_scale(modifier: i32) -> Option<(u8, i8)> {
    let packed = modifier.checked_sub(4).filter(|packed| *packed >= 0)?;
    let (precision, scale) = ((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024);
    limits(precision, scale)
}

/// The same of a precision and a scale as they are written: `numeric(3, -2)` holds hundreds, `numeric(2, 5)` fractions.
pub(super) fn limits(precision: i32, scale: i32) -> Option<(u8, i8)> {
    let (precision, scale) = match scale {
        ..0 => (precision - scale, 0),
        _ => (precision.max(scale), scale),
    };
    (1..=38).contains(&precision).then_some((u8::try_from(precision).ok()?, i8::try_from(scale).ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn binary(digits: &[u16], weight: i16, sign: u16, scale: u16) -> Vec<u8> {
        let head = [u16::try_from(digits.len()).unwrap(), weight.cast_unsigned(), sign, scale];
        head.iter().chain(digits).flat_map(|word| word.to_be_bytes()).collect()
    }

    #[rstest]
    #[case::zero(binary(&[], 0, 0, 2), "0.00", 2, Some(0))]
    #[case::whole(binary(&[1, 2345], 1, 0, 0), "12345", 0, Some(12_345))]
    #[case::cents(binary(&[12, 3400], 0, 0, 2), "12.34", 2, Some(1_234))]
    #[case::negative(binary(&[12, 3400], 0, NEGATIVE, 2), "-12.34", 4, Some(-123_400))]
    #[case::small(binary(&[50], -2, 0, 8), "0.00000050", 8, Some(50))]
    #[case::trailing_groups_left_out(binary(&[1], 2, 0, 0), "100000000", 0, Some(100_000_000))]
    #[case::finer_than_the_scale(binary(&[12, 3450], 0, 0, 3), "12.345", 2, None)]
    #[case::too_large(binary(&[1], 20, 0, 0), "1".to_owned() + &"0".repeat(80), 0, None)]
    #[case::not_a_number(binary(&[], 0, NOT_A_NUMBER, 0), "NaN", 2, None)]
    #[case::infinite(binary(&[], 0, MINUS_INFINITE, 0), "-Infinity", 2, None)]
    fn a_numeric_is_its_text_and_its_decimal(
        #[case] bytes: Vec<u8>,
        #[case] text: impl AsRef<str>,
        #[case] scale: i32,
        #[case] decimal: Option<i128>,
    ) {
        let numeric = Numeric::read(&bytes).unwrap();
        assert_eq!((numeric.text().as_str(), numeric.decimal(scale)), (text.as_ref(), decimal));
    }

    #[rstest]
    #[case::none(-1, None)]
    #[case::money(((10 << 16) | 2) + 4, Some((10, 2)))]
    #[case::hundreds(((3 << 16) | (-2 & 0x7ff)) + 4, Some((5, 0)))]
    #[case::fractions(((2 << 16) | 5) + 4, Some((5, 5)))]
    #[case::wider_than_a_decimal(((39 << 16) | 2) + 4, None)]
    fn a_type_modifier_says_precision_and_scale(#[case] modifier: i32, #[case] want: Option<(u8, i8)>) {
        assert_eq!(precision_and_scale(modifier), want);
    }

    #[test]
    fn what_is_cut_off_is_no_numeric() {
        let whole = binary(&[12, 3400], 0, 0, 2);
        assert!((0..whole.len()).all(|end| Numeric::read(&whole[..end]).is_none()));
    }
}
