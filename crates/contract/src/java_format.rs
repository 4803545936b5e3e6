//! Java's format strings, `%5.2f|%-8s|%d`, as `java.util.Formatter` writes them in the root locale.
//!
//! Pure; both dialects of SQL have a function that takes one. Invariant: a pattern that Java refuses, and a value that a
//! conversion does not take, give nothing; no text is longer than the caller allows.

/// A value that is written.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// No value: `null`.
    Null,
    /// A truth.
    Flag(bool),
    /// A whole number of so many bits.
    Whole(i64, u32),
    /// A number, and the text that Java shows for it.
    Real(f64, &'a str),
    /// What is shown as a text and is no number.
    Text(&'a str),
}

/// Why a text was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwritten {
    /// A conversion has no value, or one of another type.
    Misfit,
    /// The text would be longer than is allowed.
    TooLong,
}

/// A format string that was read.
#[derive(Debug, Clone)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Field(Field),
}

/// One `%…`.
#[derive(Debug, Clone, Default)]
struct Field {
    /// The number of its value, where the pattern says it; they count from one.
    argument: Option<usize>,
    flags: String,
    width: usize,
    places: Option<usize>,
    conversion: char,
}

/// Widths beyond this are no pattern.
const WIDTH_MAX: usize = 0x7fff_ffff;

impl Template {
    /// Reads a pattern; nothing where it is none of Java's. Not known here: `%a`, `%h`, `%t`, `#` and `<`.
    pub fn new(pattern: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = pattern;
        while let Some(at) = rest.find('%') {
            let (text, field) = rest.split_at(at);
            parts.push(Part::Text(text.to_owned()));
            let (field, after) = Field::read(field.get(1..)?)?;
            parts.push(match field.conversion {
                'n' => Part::Text("\n".to_owned()),
                '%' => Part::Text("%".to_owned()),
                _ => Part::Field(field),
            });
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Some(Self(parts))
    }

    /// Writes values; those that no conversion names are left out.
    ///
    /// # Errors
    /// [`Unwritten`]
    pub fn write(&self, values: &[Value<'_>], bytes_max: usize) -> Result<String, Unwritten> {
        let mut made = String::new();
        let mut next = 0;
        for part in &self.0 {
            match part {
                Part::Text(text) => made.push_str(text),
                Part::Field(field) => {
                    let index = field.argument.map_or(next, |argument| argument - 1);
                    next += usize::from(field.argument.is_none());
                    let value = values.get(index).ok_or(Unwritten::Misfit)?;
                    if field.width > bytes_max || field.places.is_some_and(|places| places > bytes_max.min(10_000)) {
                        return Err(Unwritten::TooLong);
                    }
                    field.write(*value, &mut made).ok_or(Unwritten::Misfit)?;
                }
            }
            if made.len() > bytes_max {
                return Err(Unwritten::TooLong);
            }
        }
        Ok(made)
    }
}

/// Digits off the front of a text, as a number.
fn digits(text: &str) -> (Option<usize>, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(end);
    (if digits.is_empty() { None } else { Some(digits.parse().unwrap_or(usize::MAX)) }, rest)
}

impl Field {
    fn read(text: &str) -> Option<(Self, &str)> {
        let (number, after) = digits(text);
        let (argument, text) = match (number, after.strip_prefix('$')) {
            (Some(number), Some(after)) if number > 0 => (Some(number), after),
            _ => (None, text),
        };
        let end = text.bytes().take_while(|byte| b"-+ 0,(".contains(byte)).count();
        let (flags, text) = text.split_at(end);
        let (width, text) = digits(text);
        let (places, text) = match text.strip_prefix('.') {
            Some(after) => match digits(after) {
                (Some(places), after) => (Some(places), after),
                (None, _) => return None,
            },
            None => (None, text),
        };
        let conversion = text.chars().next()?;
        let field = Self { argument, flags: flags.to_owned(), width: width.unwrap_or(0), places, conversion };
        field.is_javas(width.is_some()).then_some(())?;
        Some((field, text.get(conversion.len_utf8()..)?))
    }

    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    /// Whether Java takes these flags, width and precision together.
    fn is_javas(&self, has_width: bool) -> bool {
        let (allowed, precise) = match self.conversion {
            's' | 'S' | 'b' | 'B' => ("-", true),
            'c' | 'C' => ("-", false),
            'd' => ("-+ 0,(", false),
            'x' | 'X' | 'o' => ("-0", false),
            'f' | 'g' | 'G' => ("-+ 0,(", true),
            'e' | 'E' => ("-+ 0(", true),
            'n' | '%' => return self.flags.is_empty() && !has_width && self.places.is_none(),
            _ => return false,
        };
        let twice = self.flags.char_indices().any(|(at, flag)| self.flags.get(..at).is_some_and(|b| b.contains(flag)));
        let clash = (self.has('-') && self.has('0')) || (self.has('+') && self.has(' '));
        let needs_width = self.has('-') || self.has('0');
        !twice
            && !clash
            && self.flags.chars().all(|flag| allowed.contains(flag))
            && (has_width || !needs_width)
            && (precise || self.places.is_none())
            && self.width <= WIDTH_MAX
    }

    fn write(&self, value: Value<'_>, made: &mut String) -> Option<()> {
        let upper = self.conversion.is_ascii_uppercase();
        let cut = |text: &str| match self.places {
            // Java counts UTF-16 units.
            Some(places) => text
                .chars()
                .scan(0, |units, letter| {
                    *units += letter.len_utf16();
                    (*units <= places).then_some(letter)
                })
                .collect(),
            None => text.to_owned(),
        };
        let text = match (self.conversion.to_ascii_lowercase(), value) {
            ('b', Value::Null) => cut("false"),
            ('b', Value::Flag(flag)) => cut(if flag { "true" } else { "false" }),
            ('b', _) => cut("true"),
            (_, Value::Null) => cut("null"),
            ('s', Value::Flag(flag)) => cut(if flag { "true" } else { "false" }),
            ('s', Value::Whole(number, _)) => cut(&number.to_string()),
            ('s', Value::Real(_, text) | Value::Text(text)) => cut(text),
            ('d', Value::Whole(number, _)) => {
                let digits = number.unsigned_abs().to_string();
                self.signed(number < 0, &self.grouped(&digits))
            }
            ('x' | 'o', Value::Whole(number, bits)) => {
                let mask = if bits >= 64 { u64::MAX } else { (1 << bits) - 1 };
                let number = number.cast_unsigned() & mask;
                let digits = if self.conversion == 'o' { format!("{number:o}") } else { format!("{number:x}") };
                self.signed(false, &digits)
            }
            ('c', Value::Whole(code, ..=32)) => char::from_u32(u32::try_from(code).ok()?)?.to_string(),
            ('f' | 'e' | 'g', Value::Real(number, _)) => self.real(number),
            _ => return None,
        };
        self.padded(&if upper { text.to_uppercase() } else { text }, made);
        Some(())
    }

    fn real(&self, number: f64) -> String {
        if number.is_nan() {
            return "NaN".to_owned();
        }
        let (size, negative) = (number.abs(), number.is_sign_negative());
        if size.is_infinite() {
            let (before, after) = self.sign(negative);
            return format!("{before}Infinity{after}");
        }
        let places = self.places.unwrap_or(6);
        let digits = match self.conversion.to_ascii_lowercase() {
            'f' => self.grouped(&fixed(size, places)),
            'e' => scientific(size, places),
            _ => self.general(size, places.max(1)),
        };
        self.signed(negative, &digits)
    }

    /// So many digits, with a power of ten where the number is small or large.
    fn general(&self, size: f64, digits: usize) -> String {
        let shown = scientific(size, digits - 1);
        let power = shown.split_once('e').and_then(|(_, power)| power.parse::<i32>().ok()).unwrap_or(0);
        let most = i32::try_from(digits).unwrap_or(i32::MAX);
        if size == 0.0 || (-4..most).contains(&power) {
            return self.grouped(&fixed(size, usize::try_from(most - 1 - power).unwrap_or(0)));
        }
        shown
    }

    fn sign(&self, negative: bool) -> (&'static str, &'static str) {
        match negative {
            true if self.has('(') => ("(", ")"),
            true => ("-", ""),
            false if self.has('+') => ("+", ""),
            false if self.has(' ') => (" ", ""),
            false => ("", ""),
        }
    }

    /// Digits with their sign, filled up by noughts where the pattern wants them.
    fn signed(&self, negative: bool, digits: &str) -> String {
        let (before, after) = self.sign(negative);
        let length = before.len() + digits.len() + after.len();
        let zeros = if self.has('0') { self.width.saturating_sub(length) } else { 0 };
        format!("{before}{}{digits}{after}", "0".repeat(zeros))
    }

    /// Threes of digits, where the pattern wants them.
    fn grouped(&self, digits: &str) -> String {
        if !self.has(',') {
            return digits.to_owned();
        }
        let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
        let mut made = String::new();
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index).is_multiple_of(3) {
                made.push(',');
            }
            made.push(digit);
        }
        made + rest
    }

    fn padded(&self, text: &str, made: &mut String) {
        let missing = self.width.saturating_sub(text.encode_utf16().count());
        let spaces = std::iter::repeat_n(' ', missing);
        if self.has('-') {
            made.push_str(text);
            made.extend(spaces);
        } else {
            made.extend(spaces);
            made.push_str(text);
        }
    }
}

/// So many places, half away from zero by the decimal digits that the number shows; noughts stand for those beyond them.
pub fn fixed(number: f64, places: usize) -> String {
    if !number.is_finite() {
        return format!("{number:.places$}");
    }
    let behind = i64::try_from(places).unwrap_or(i64::MAX);
    let (digits, exponent) = digits_kept(number.abs(), |exponent| behind.saturating_add(i64::from(exponent) + 1));
    let whole_digits = usize::try_from(exponent + 1).unwrap_or(0);
    let zeros = usize::try_from(-(exponent + 1)).unwrap_or(0);
    let padded = format!("{}{digits:0<whole_digits$}", "0".repeat(zeros));
    let (whole, fraction) = padded.split_at(whole_digits);
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if places == 0 { "" } else { "." };
    let fraction: String = fraction.chars().chain(std::iter::repeat('0')).take(places).collect();
    format!("{sign}{whole}{point}{fraction}")
}

/// `1.500000e+00`
fn scientific(size: f64, places: usize) -> String {
    let (digits, exponent) = digits_kept(size, |_| i64::try_from(places).unwrap_or(i64::MAX).saturating_add(1));
    let (first, rest) = digits.split_at(1.min(digits.len()));
    let point = if places == 0 { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{point}{rest:0<places$}e{sign}{:0>2}", exponent.abs())
}

/// The shortest digits that stand for a number and the power of ten of the first, so many of them as are said for that power,
/// rounded half up.
fn digits_kept(size: f64, keep: impl Fn(i32) -> i64) -> (String, i32) {
    let text = format!("{size:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent = exponent.parse::<i32>().unwrap_or(0);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let Ok(keep) = usize::try_from(keep(exponent)) else { return ("0".to_owned(), 0) };
    if keep >= digits.len() {
        return (digits, exponent);
    }
    let (kept, rest) = digits.split_at(keep);
    if rest < "5" {
        return if keep == 0 { ("0".to_owned(), 0) } else { (kept.to_owned(), exponent) };
    }
    let head = kept.trim_end_matches('9');
    let zeros = "0".repeat(keep - head.len());
    match head.as_bytes().split_last() {
        Some((last, before)) => {
            (format!("{}{}{zeros}", String::from_utf8_lossy(before), char::from(last + 1)), exponent)
        }
        None => (format!("1{zeros}"), exponent + 1),
    }
}

/// The shortest decimal that stands for the number, rounded half away from zero at a place, as `BigDecimal.valueOf` does.
pub fn rounded(number: f64, places: i32) -> f64 {
    if !number.is_finite() {
        return number;
    }
    let text = format!("{:e}", number.abs());
    let Some((digits, exponent)) = text.split_once('e') else { return number };
    let Ok(exponent) = exponent.parse::<i32>() else { return number };
    let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
    // Digits that stay: those before the place that is rounded at.
    let keep = i64::from(exponent) + 1 + i64::from(places);
    if keep >= i64::try_from(digits.len()).unwrap_or(i64::MAX) {
        return number;
    }
    let Ok(kept) = usize::try_from(keep) else { return 0.0_f64.copysign(number) };
    let whole = digits.iter().take(kept).fold(0_u128, |whole, digit| whole * 10 + u128::from(*digit));
    let up = digits.get(kept).is_some_and(|digit| *digit >= 5);
    let whole = whole + u128::from(up);
    format!("{whole}e{}", -i64::from(places)).parse::<f64>().unwrap_or(number).copysign(number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("%5d|%-5d|%05d|%+d|% d", 42, "   42|42   |00042|+42| 42")]
    #[case("%(d|%(06d|%,d", -1234567, "(1234567)|(1234567)|-1,234,567")]
    #[case("%x|%X|%o|%08x", 255, "ff|FF|377|000000ff")]
    #[case("%s|%b|%3$s", 7, "7|true|7")]
    #[case("%c%%%n", 65, "A%\n")]
    fn whole_numbers(#[case] pattern: &str, #[case] number: i64, #[case] text: &str) {
        let values = [Value::Whole(number, 32); 5];
        assert_eq!(Template::new(pattern).unwrap().write(&values, 100).unwrap(), text);
    }

    #[rstest]
    #[case("%.2f|%8.3f|%-8.1f|%08.2f", -1.25, "-1.25|  -1.250|-1.3    |-0001.25")]
    #[case("%e|%.2e|%E|%g", 12345.678, "1.234568e+04|1.23e+04|1.234568E+04|12345.7")]
    #[case("%.0f|%.1f|%,.1f|%.3g", 2.5, "3|2.5|2.5|2.50")]
    #[case("%5.1f|%05.1f|%+.1f|%E", f64::NAN, "  NaN|  NaN|NaN|NAN")]
    #[case("%f|%(f|%12f|%s", f64::NEG_INFINITY, "-Infinity|(Infinity)|   -Infinity|x")]
    fn reals(#[case] pattern: &str, #[case] number: f64, #[case] text: &str) {
        let values = [Value::Real(number, "x"); 4];
        assert_eq!(Template::new(pattern).unwrap().write(&values, 100).unwrap(), text);
    }

    #[rstest]
    #[case("%-d")]
    #[case("%0d")]
    #[case("%-05d")]
    #[case("%q")]
    #[case("%")]
    #[case("%5")]
    #[case("%.d")]
    #[case("%.2d")]
    #[case("%+s")]
    #[case("%,x")]
    #[case("%#x")]
    #[case("%99999999999d")]
    fn what_java_refuses_is_no_pattern(#[case] pattern: &str) {
        assert!(Template::new(pattern).is_none());
    }

    #[test]
    fn a_value_that_does_not_fit_and_a_text_that_is_too_long_are_told_apart() {
        let misfit = |pattern: &str, value| Template::new(pattern).unwrap().write(&[value], 100);
        assert_eq!(misfit("%d", Value::Text("a")), Err(Unwritten::Misfit));
        assert_eq!(misfit("%d", Value::Real(1.0, "1.0")), Err(Unwritten::Misfit));
        assert_eq!(misfit("%f", Value::Whole(1, 64)), Err(Unwritten::Misfit));
        assert_eq!(misfit("%s %s", Value::Null), Err(Unwritten::Misfit));
        assert_eq!(misfit("%1000s", Value::Null), Err(Unwritten::TooLong));
        assert_eq!(misfit("%8.2s|", Value::Null), Ok("      nu|".to_owned()));
        assert_eq!(misfit("%5s|", Value::Text("😀")), Ok("   😀|".to_owned()));
    }
}
