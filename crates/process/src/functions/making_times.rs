//! Functions that make dates and instants of numbers and texts, and the other way round.
//!
//! A part of the table of functions. Invariant: what is no time is null; patterns are constants, and are checked.

use arrow::datatypes::{DataType, Date32Type, Int64Type, TimestampMicrosecondType};
use datafusion::common::ScalarValue;

use crate::functions::bind::{Bound, Refusal, Typed};
use crate::functions::calendar::{DAY_US, SECOND_US, Zone, day32, days_of, plus_months, split};
use crate::functions::call::{Args, call, numbers, texts};
use crate::functions::kinds::{TEXT, decimal, is_decimal, is_instant, is_real, is_text};
use crate::functions::math::ints;
use crate::functions::patterns::Pattern;
use crate::functions::table::{Calling, Function, function, null};
use crate::session::instant;

const I: DataType = DataType::Int32;
const L: DataType = DataType::Int64;
const DATE: DataType = DataType::Date32;
const DEFAULT_PATTERN: &str = "yyyy-MM-dd HH:mm:ss";

pub(crate) const FUNCTIONS: &[Function] = &[
    function("date_format", 2, 2, date_format),
    function("date_from_unix_date", 1, 1, |c| {
        c.make(DATE, &[I], numbers::<Date32Type, _>(|args, row| args.int(0, row)))
    }),
    function("from_unixtime", 1, 2, from_unixtime),
    function("make_date", 3, 3, |c| {
        c.make(
            DATE,
            &[I, I, I],
            numbers::<Date32Type, _>(|args, row| {
                let part = |i: usize| args.int(i, row).map(i64::from);
                day32(days_of(part(0)?, part(1)?, part(2)?)?)
            }),
        )
    }),
    function("make_timestamp", 1, 7, make_timestamp),
    function("timestamp_micros", 1, 1, |c| from_number(c, Some)),
    function("timestamp_millis", 1, 1, |c| from_number(c, |v| v.checked_mul(1000))),
    function("timestamp_seconds", 1, 1, timestamp_seconds),
    function("to_char", 2, 2, to_char),
    function("to_date", 1, 2, to_date),
    function("to_timestamp", 1, 2, to_timestamp),
    function("to_unix_timestamp", 1, 2, unix_timestamp),
    function("to_varchar", 2, 2, to_char),
    function("try_make_timestamp", 1, 7, make_timestamp),
    function("try_to_date", 1, 2, to_date),
    function("try_to_timestamp", 1, 2, to_timestamp),
    function("unix_date", 1, 1, |c| c.make(I, &[DATE], ints(|args, row| args.day(0, row)))),
    function("unix_micros", 1, 1, |c| to_number(c, 1)),
    function("unix_millis", 1, 1, |c| to_number(c, 1000)),
    function("unix_seconds", 1, 1, |c| to_number(c, SECOND_US)),
    function("unix_timestamp", 1, 2, unix_timestamp),
];

fn to_number(c: Calling, unit: i64) -> Bound {
    c.make(L, &[instant()], numbers::<Int64Type, _>(move |args, row| args.instant(0, row).map(|v| v.div_euclid(unit))))
}

fn from_number(c: Calling, make: fn(i64) -> Option<i64>) -> Bound {
    if is_real(&c.kind(0)) || is_decimal(&c.kind(0)) || is_text(&c.kind(0)) {
        return Err(c.wrong(0, "an integer"));
    }
    c.make(instant(), &[L], numbers::<TimestampMicrosecondType, _>(move |args, row| make(args.long(0, row)?)))
}

/// Seconds may have a fraction.
#[expect(clippy::cast_possible_truncation, reason = "what is outside of the range stays at its ends")]
fn timestamp_seconds(c: Calling) -> Bound {
    let arg = c.arg(0)?;
    let kind = arg.kind.clone();
    if is_real(&kind) {
        return c.make(
            instant(),
            &[DataType::Float64],
            numbers::<TimestampMicrosecondType, _>(|args, row| {
                let seconds = args.double(0, row).filter(|v| v.is_finite())?;
                Some((seconds * 1e6) as i64)
            }),
        );
    }
    if let DataType::Decimal128(_, scale) = kind {
        let scale = i32::from(scale);
        if scale > 6 {
            return Err(c.wrong(0, "a DECIMAL with at most six digits behind the point"));
        }
        return c.make(
            instant(),
            &[kind],
            numbers::<TimestampMicrosecondType, _>(move |args, row| {
                let factor = 10_i128.checked_pow(u32::try_from(6 - scale).ok()?)?;
                i64::try_from(args.decimal(0, row)?.checked_mul(factor)?).ok()
            }),
        );
    }
    from_number(c, |v| v.checked_mul(SECOND_US))
}

/// The pattern of an argument; `None` where it is null.
fn pattern(c: &Calling, index: usize) -> Result<Option<Pattern>, Refusal> {
    c.constant_text(index, "the pattern")?.map(|text| Pattern::new(&text)).transpose()
}

fn date_format(c: Calling) -> Bound {
    let Some(pattern) = pattern(&c, 1)? else { return null(&TEXT) };
    c.make(TEXT, &[instant(), TEXT], texts(move |args, row| pattern.write(args.instant(0, row)?)))
}

/// Of a time only; patterns for numbers are others.
fn to_char(c: Calling) -> Bound {
    if is_instant(&c.kind(0)) || c.kind(0) == DATE {
        return date_format(c);
    }
    Err(Refusal::new(format!("{} is of times here", c.name), "write format_number(x, 2), or CAST(x AS STRING)"))
}

fn from_unixtime(c: Calling) -> Bound {
    let c = c.or(1, ScalarValue::Utf8View(Some(DEFAULT_PATTERN.to_owned())));
    let Some(pattern) = pattern(&c, 1)? else { return null(&TEXT) };
    c.make(TEXT, &[L, TEXT], texts(move |args, row| pattern.write(args.long(0, row)?.wrapping_mul(SECOND_US))))
}

/// The pattern of an argument by which a text is read; `None` where it is null.
fn reading_pattern(c: &Calling, index: usize) -> Result<Option<Pattern>, Refusal> {
    c.constant_text(index, "the pattern")?.map(|text| Pattern::for_reading(&text)).transpose()
}

/// A text read by a pattern.
fn read(args: &Args<'_>, row: usize, pattern: &Pattern) -> Option<i64> {
    pattern.read(args.text(0, row)?)
}

fn to_date(c: Calling) -> Bound {
    if c.args.len() == 1 || !is_text(&c.kind(0)) {
        return Ok(Typed::new(c.want(0, &DATE)?, DATE));
    }
    let Some(pattern) = reading_pattern(&c, 1)? else { return null(&DATE) };
    c.make(DATE, &[TEXT, TEXT], numbers::<Date32Type, _>(move |args, row| day32(split(read(args, row, &pattern)?).0)))
}

fn to_timestamp(c: Calling) -> Bound {
    if c.kind(0) == DataType::Boolean {
        // It is read as the text that it is, and neither 'true' nor 'false' is a time.
        return null(&instant());
    }
    if c.args.len() == 1 || !is_text(&c.kind(0)) {
        let arg = c.arg(0)?;
        return Ok(Typed::new(arg.to(&instant())?, instant()));
    }
    let Some(pattern) = reading_pattern(&c, 1)? else { return null(&instant()) };
    c.make(instant(), &[TEXT, TEXT], numbers::<TimestampMicrosecondType, _>(move |args, row| read(args, row, &pattern)))
}

fn unix_timestamp(c: Calling) -> Bound {
    if !is_text(&c.kind(0)) {
        let one = Calling::new(c.name, vec![c.arg(0)?]);
        let truncated = numbers::<Int64Type, _>(|args, row| args.instant(0, row).map(|v| v / SECOND_US));
        return one.make(L, &[instant()], truncated);
    }
    let c = c.or(1, ScalarValue::Utf8View(Some(DEFAULT_PATTERN.to_owned())));
    let Some(pattern) = reading_pattern(&c, 1)? else { return null(&L) };
    c.make(
        L,
        &[TEXT, TEXT],
        numbers::<Int64Type, _>(move |args, row| read(args, row, &pattern).map(|v| v.div_euclid(SECOND_US))),
    )
}

/// Year, month, day, hour, minute, seconds with a fraction, and a zone.
fn make_timestamp(c: Calling) -> Bound {
    if c.args.len() == 1 && c.kind(0) == DATE {
        return Ok(Typed::new(c.want(0, &instant())?, instant()));
    }
    if c.args.len() < 6 {
        return Err(Refusal::new(
            format!("{} takes year, month, day, hour, minute and seconds", c.name),
            "the type TIME is not known here",
        ));
    }
    let c = c.or(6, ScalarValue::Utf8View(Some("UTC".to_owned())));
    c.make(
        instant(),
        &[I, I, I, I, I, decimal(16, 6), TEXT],
        numbers::<TimestampMicrosecondType, _>(|args, row| {
            let part = |i: usize| args.int(i, row).map(i64::from);
            let days = days_of(part(0)?, part(1)?, part(2)?)?;
            let (hour, minute) = (part(3)?, part(4)?);
            let micros = i64::try_from(args.decimal(5, row)?).ok()?;
            // A sixtieth second is the next minute, when it is whole.
            let seconds = (0..60 * SECOND_US).contains(&micros) || micros == 60 * SECOND_US;
            if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !seconds {
                return None;
            }
            let time = (hour * 60 + minute) * 60 * SECOND_US + micros;
            Zone::parse(args.text(6, row)?)?.to_utc(days.checked_mul(DAY_US)?.checked_add(time)?)
        }),
    )
}

/// What an INTERVAL moves a time by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) months: i64,
    pub(crate) days: i64,
    pub(crate) micros: i64,
}

impl Step {
    /// One of a unit.
    pub(crate) fn unit(name: &str) -> Option<Self> {
        let months = |months| Self { months, ..Self::default() };
        let days = |days| Self { days, ..Self::default() };
        let micros = |micros| Self { micros, ..Self::default() };
        Some(match name.to_uppercase().trim_end_matches('S') {
            "YEAR" => months(12),
            "QUARTER" => months(3),
            "MONTH" => months(1),
            "WEEK" => days(7),
            "DAY" | "DAYOFYEAR" => days(1),
            "HOUR" => micros(3600 * SECOND_US),
            "MINUTE" => micros(60 * SECOND_US),
            "SECOND" => micros(SECOND_US),
            "MILLISECOND" => micros(1000),
            "MICROSECOND" => micros(1),
            _ => return None,
        })
    }

    pub(crate) fn times(self, by: i64) -> Option<Self> {
        Some(Self {
            months: self.months.checked_mul(by)?,
            days: self.days.checked_mul(by)?,
            micros: self.micros.checked_mul(by)?,
        })
    }

    fn apply(self, at: i64) -> Option<i64> {
        let (days, time) = split(at);
        let days = if self.months == 0 { days } else { plus_months(days, self.months)? };
        days.checked_add(self.days)?.checked_mul(DAY_US)?.checked_add(time)?.checked_add(self.micros)
    }
}

/// A time moved by a constant step: a date stays a date when the step is of whole days.
pub(crate) fn plus(value: Typed, step: Step) -> Bound {
    let kept = Expr64::of(step);
    if value.kind == DATE && step.micros == 0 {
        let made = numbers::<Date32Type, _>(move |args, row| {
            day32(split(step.apply(i64::from(args.day(0, row)?).checked_mul(DAY_US)?)?).0)
        });
        return Ok(Typed::new(call("plus interval", DATE, kept.with(value.expr), made), DATE));
    }
    if !is_instant(&value.kind) && value.kind != DATE {
        return Err(Refusal::new(
            "an INTERVAL can only be added to a date or a timestamp",
            "write t + INTERVAL '1' DAY",
        ));
    }
    let at = value.to(&instant())?;
    let made = numbers::<TimestampMicrosecondType, _>(move |args, row| step.apply(args.instant(0, row)?));
    Ok(Typed::new(call("plus interval", instant(), kept.with(at), made), instant()))
}

/// A step as arguments, so that two calls with different ones are different.
struct Expr64([i64; 3]);

impl Expr64 {
    fn of(step: Step) -> Self {
        Self([step.months, step.days, step.micros])
    }

    fn with(&self, first: datafusion::logical_expr::Expr) -> Vec<datafusion::logical_expr::Expr> {
        std::iter::once(first).chain(self.0.iter().map(|n| datafusion::logical_expr::lit(*n))).collect()
    }
}

/// `timestampadd(unit, n, t)`.
pub(crate) fn timestamp_add(unit: &str, number: Typed, value: Typed) -> Bound {
    let step = known(unit)?;
    let number = Calling::new("timestampadd", vec![number]).want(0, &L)?;
    let at = Calling::new("timestampadd", vec![value]).want(0, &instant())?;
    let made = numbers::<TimestampMicrosecondType, _>(move |args, row| {
        step.times(args.long(0, row)?)?.apply(args.instant(1, row)?)
    });
    let name = format!("timestampadd {}", unit.to_uppercase());
    Ok(Typed::new(call(&name, instant(), vec![number, at], made), instant()))
}

/// `timestampdiff(unit, from, to)`: whole units.
pub(crate) fn timestamp_difference(unit: &str, from: Typed, to: Typed) -> Bound {
    let step = known(unit)?;
    let from = Calling::new("timestampdiff", vec![from]).want(0, &instant())?;
    let to = Calling::new("timestampdiff", vec![to]).want(0, &instant())?;
    let made =
        numbers::<Int64Type, _>(move |args, row| units_between(args.instant(0, row)?, args.instant(1, row)?, step));
    let name = format!("timestampdiff {}", unit.to_uppercase());
    Ok(Typed::new(call(&name, L, vec![from, to], made), L))
}

fn known(unit: &str) -> Result<Step, Refusal> {
    Step::unit(unit).ok_or_else(|| {
        Refusal::new("this is no unit of time", "write YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE or SECOND")
    })
}

fn units_between(from: i64, to: i64, step: Step) -> Option<i64> {
    if step.months == 0 {
        let unit = step.days.checked_mul(DAY_US)?.checked_add(step.micros)?;
        return to.checked_sub(from)?.checked_div(unit);
    }
    let month = |at: i64| {
        let day = crate::functions::calendar::civil(split(at).0);
        (day.year * 12 + day.month, (day.day, split(at).1))
    };
    let ((m1, rest1), (m2, rest2)) = (month(from), month(to));
    let whole = m2 - m1;
    let whole = if whole > 0 && rest2 < rest1 {
        whole - 1
    } else if whole < 0 && rest2 > rest1 {
        whole + 1
    } else {
        whole
    };
    Some(whole / step.months)
}
