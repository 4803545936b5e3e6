//! Functions over dates and instants: their parts, their beginnings, days and months added, differences.
//!
//! A part of the table of functions; those that make times of something else are in `making_times`. Invariant: a date
//! of any year is computed; what no DATE or TIMESTAMP holds is null.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, TimestampMicrosecondType};
use datafusion::common::{ScalarValue, exec_err};
use vitalake_contract::time_format::names::{MONTHS, WEEKDAYS};

use crate::functions::bind::{Bound, Refusal};
use crate::functions::calendar::{
    Civil, DAY_US, SECOND_US, Zone, civil, day_of_year, day32, days_of, iso_week, iso_weekday, month_days, plus_months,
    split,
};
use crate::functions::call::{Args, Kernel, numbers, texts};
use crate::functions::kinds::{TEXT, decimal};
use crate::functions::math::ints;
use crate::functions::table::{Calling, Function, function, null};
use crate::session::instant;

const I: DataType = DataType::Int32;
const DATE: DataType = DataType::Date32;

pub(crate) const FUNCTIONS: &[Function] = &[
    function("add_months", 2, 2, |c| {
        c.make(
            DATE,
            &[DATE, I],
            numbers::<Date32Type, _>(|args, row| {
                day32(plus_months(i64::from(args.day(0, row)?), i64::from(args.int(1, row)?))?)
            }),
        )
    }),
    function("date_add", 2, 2, |c| moved(c, 1)),
    function("date_diff", 2, 2, difference),
    function("date_part", 2, 2, |c| part_of(c, 0, 1)),
    function("date_sub", 2, 2, |c| moved(c, -1)),
    function("date_trunc", 2, 2, date_trunc),
    function("dateadd", 2, 2, |c| moved(c, 1)),
    function("datediff", 2, 2, difference),
    function("datepart", 2, 2, |c| part_of(c, 0, 1)),
    function("day", 1, 1, |c| day_part(c, |d| civil(d).day)),
    function("dayname", 1, 1, |c| named(c, |d| WEEKDAYS.get(usize::try_from(iso_weekday(d) - 1).ok()?).copied())),
    function("dayofmonth", 1, 1, |c| day_part(c, |d| civil(d).day)),
    function("dayofweek", 1, 1, |c| day_part(c, |d| iso_weekday(d) % 7 + 1)),
    function("dayofyear", 1, 1, |c| day_part(c, day_of_year)),
    function("from_utc_timestamp", 2, 2, |c| zoned(c, |zone, at| zone.to_local(at))),
    function("hour", 1, 1, |c| time_part(c, |us| us / SECOND_US / 3600)),
    function("last_day", 1, 1, |c| {
        c.make(
            DATE,
            &[DATE],
            numbers::<Date32Type, _>(|args, row| {
                let days = i64::from(args.day(0, row)?);
                let Civil { year, month, day } = civil(days);
                day32(days - day + month_days(year, month))
            }),
        )
    }),
    function("minute", 1, 1, |c| time_part(c, |us| us / SECOND_US / 60 % 60)),
    function("month", 1, 1, |c| day_part(c, |d| civil(d).month)),
    function("monthname", 1, 1, |c| named(c, |d| MONTHS.get(usize::try_from(civil(d).month - 1).ok()?).copied())),
    function("months_between", 2, 3, months_between),
    function("next_day", 2, 2, |c| {
        c.make(
            DATE,
            &[DATE, TEXT],
            numbers::<Date32Type, _>(|args, row| {
                let days = i64::from(args.day(0, row)?);
                let wanted = weekday(args.text(1, row)?)?;
                day32(days + 1 + (wanted - iso_weekday(days + 1)).rem_euclid(7))
            }),
        )
    }),
    function("quarter", 1, 1, |c| day_part(c, |d| (civil(d).month - 1) / 3 + 1)),
    function("second", 1, 1, |c| time_part(c, |us| us / SECOND_US % 60)),
    function("to_utc_timestamp", 2, 2, |c| zoned(c, |zone, at| zone.to_utc(at))),
    function("trunc", 2, 2, trunc),
    function("weekday", 1, 1, |c| day_part(c, |d| iso_weekday(d) - 1)),
    function("weekofyear", 1, 1, |c| day_part(c, |d| iso_week(d).1)),
    function("year", 1, 1, |c| day_part(c, |d| civil(d).year)),
];

fn day_part(c: Calling, part: fn(i64) -> i64) -> Bound {
    c.make(I, &[DATE], ints(move |args, row| i32::try_from(part(i64::from(args.day(0, row)?))).ok()))
}

fn named(c: Calling, name: fn(i64) -> Option<&'static str>) -> Bound {
    c.make(TEXT, &[DATE], texts(move |args, row| name(i64::from(args.day(0, row)?))?.get(..3).map(str::to_owned)))
}

fn time_part(c: Calling, part: fn(i64) -> i64) -> Bound {
    c.make(I, &[instant()], ints(move |args, row| i32::try_from(part(split(args.instant(0, row)?).1)).ok()))
}

fn moved(c: Calling, sign: i64) -> Bound {
    let whole = matches!(c.kind(1), DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Null);
    if !whole && c.kind(1) != TEXT {
        return Err(c.wrong(1, "INT; a number of days has no fraction"));
    }
    c.make(
        DATE,
        &[DATE, I],
        numbers::<Date32Type, _>(move |args, row| {
            // Beyond the calendar days wrap, as Spark's do.
            let (day, by) = (args.day(0, row)?, args.int(1, row)?);
            Some(if sign < 0 { day.wrapping_sub(by) } else { day.wrapping_add(by) })
        }),
    )
}

fn difference(c: Calling) -> Bound {
    c.make(
        I,
        &[DATE, DATE],
        ints(|args, row| i32::try_from(i64::from(args.day(0, row)?) - i64::from(args.day(1, row)?)).ok()),
    )
}

fn zoned(c: Calling, make: fn(Zone, i64) -> Option<i64>) -> Bound {
    let fixed = match c.arg(1)?.literal() {
        Some(ScalarValue::Utf8View(Some(name))) => Some(Zone::parse(name).ok_or_else(|| {
            Refusal::new("this is no time zone", "write a name such as 'Europe/Berlin', or an offset such as '+01:00'")
        })?),
        _ => None,
    };
    c.make(
        instant(),
        &[instant(), TEXT],
        numbers::<TimestampMicrosecondType, _>(move |args, row| {
            let at = args.instant(0, row)?;
            let zone = args.text(1, row)?;
            make(fixed.or_else(|| Zone::parse(zone))?, at)
        }),
    )
}

/// One for Monday.
fn weekday(name: &str) -> Option<i64> {
    Some(match name.trim().to_uppercase().as_str() {
        "MO" | "MON" | "MONDAY" => 1,
        "TU" | "TUE" | "TUESDAY" => 2,
        "WE" | "WED" | "WEDNESDAY" => 3,
        "TH" | "THU" | "THURSDAY" => 4,
        "FR" | "FRI" | "FRIDAY" => 5,
        "SA" | "SAT" | "SATURDAY" => 6,
        "SU" | "SUN" | "SUNDAY" => 7,
        _ => return None,
    })
}

/// The first day of the unit that a day is in.
fn day_floor(days: i64, unit: &str) -> Option<i64> {
    let Civil { year, month, day } = civil(days);
    match unit {
        "YEAR" | "YYYY" | "YY" => days_of(year, 1, 1),
        "QUARTER" => days_of(year, (month - 1) / 3 * 3 + 1, 1),
        "MONTH" | "MM" | "MON" => Some(days - day + 1),
        "WEEK" => Some(days - iso_weekday(days) + 1),
        _ => None,
    }
}

fn trunc(c: Calling) -> Bound {
    c.make(
        DATE,
        &[DATE, TEXT],
        numbers::<Date32Type, _>(|args, row| {
            day32(day_floor(i64::from(args.day(0, row)?), &args.text(1, row)?.to_uppercase())?)
        }),
    )
}

/// A unit that is always as long.
fn fixed_step(unit: &str) -> Option<i64> {
    Some(match unit {
        "MICROSECOND" => 1,
        "MILLISECOND" => 1000,
        "SECOND" => SECOND_US,
        "MINUTE" => 60 * SECOND_US,
        "HOUR" => 3600 * SECOND_US,
        "DAY" | "DD" => DAY_US,
        _ => return None,
    })
}

/// The beginning of the unit that an instant is in.
fn instant_floor(micros: i64, unit: &str) -> Option<i64> {
    match fixed_step(unit) {
        Some(step) => micros.checked_sub(micros.rem_euclid(step)),
        None => day_floor(split(micros).0, unit)?.checked_mul(DAY_US),
    }
}

/// The beginnings of units of one length; over whole columns, since most roll-ups group by them.
fn floored(step: i64) -> Kernel {
    Arc::new(move |args: &Args<'_>| {
        let column = args.column(1)?;
        let Some(instants) = column.as_primitive_opt::<TimestampMicrosecondType>() else {
            return exec_err!("date_trunc has no timestamps");
        };
        let made = instants.unary_opt::<_, TimestampMicrosecondType>(|at| at.checked_sub(at.rem_euclid(step)));
        Ok(Arc::new(made.with_data_type(args.kind.clone())) as ArrayRef)
    })
}

fn date_trunc(c: Calling) -> Bound {
    let unit = match c.arg(0)?.literal() {
        Some(ScalarValue::Utf8View(Some(unit))) => Some(unit.to_uppercase()),
        _ => None,
    };
    if let Some(step) = unit.as_deref().and_then(fixed_step) {
        return c.make(instant(), &[TEXT, instant()], floored(step));
    }
    let made = numbers::<TimestampMicrosecondType, _>(|args, row| {
        instant_floor(args.instant(1, row)?, &args.text(0, row)?.to_uppercase())
    });
    c.make(instant(), &[TEXT, instant()], made)
}

/// The units that `part_of` knows.
const UNITS: &[&str] = &[
    "D",
    "DAY",
    "DAYOFWEEK",
    "DAYOFWEEK_ISO",
    "DAYS",
    "DOW",
    "DOW_ISO",
    "DOY",
    "H",
    "HOUR",
    "HOURS",
    "HR",
    "HRS",
    "M",
    "MIN",
    "MINS",
    "MINUTE",
    "MINUTES",
    "MON",
    "MONS",
    "MONTH",
    "MONTHS",
    "QTR",
    "QUARTER",
    "S",
    "SEC",
    "SECOND",
    "SECONDS",
    "SECS",
    "W",
    "WEEK",
    "WEEKS",
    "Y",
    "YEAR",
    "YEAROFWEEK",
    "YEARS",
    "YR",
    "YRS",
];

/// `date_part('unit', t)` and `EXTRACT(unit FROM t)`.
pub(crate) fn part_of(c: Calling, unit: usize, value: usize) -> Bound {
    let Some(name) = c.constant_text(unit, "the unit")? else { return null(&DataType::Float64) };
    let source = Calling::new(c.name, vec![c.arg(value)?]);
    let upper = name.to_uppercase();
    let source = source.labelled(UNITS.iter().copied().find(|u| *u == upper).unwrap_or_default());
    match upper.as_str() {
        "YEAR" | "Y" | "YEARS" | "YR" | "YRS" => day_part(source, |d| civil(d).year),
        "YEAROFWEEK" => day_part(source, |d| iso_week(d).0),
        "QUARTER" | "QTR" => day_part(source, |d| (civil(d).month - 1) / 3 + 1),
        "MONTH" | "MON" | "MONS" | "MONTHS" => day_part(source, |d| civil(d).month),
        "WEEK" | "W" | "WEEKS" => day_part(source, |d| iso_week(d).1),
        "DAY" | "D" | "DAYS" => day_part(source, |d| civil(d).day),
        "DAYOFWEEK" | "DOW" => day_part(source, |d| iso_weekday(d) % 7 + 1),
        "DAYOFWEEK_ISO" | "DOW_ISO" => day_part(source, iso_weekday),
        "DOY" => day_part(source, day_of_year),
        "HOUR" | "H" | "HOURS" | "HR" | "HRS" => time_part(source, |us| us / SECOND_US / 3600),
        "MINUTE" | "M" | "MIN" | "MINS" | "MINUTES" => time_part(source, |us| us / SECOND_US / 60 % 60),
        "SECOND" | "S" | "SEC" | "SECONDS" | "SECS" => {
            let made = numbers::<Decimal128Type, _>(|args, row| {
                Some(i128::from(split(args.instant(0, row)?).1 % (60 * SECOND_US)))
            });
            source.make(decimal(8, 6), &[instant()], made)
        }
        _ => Err(Refusal::new(
            format!("{} knows no such unit", c.name),
            "write year, quarter, month, week, day, dow, doy, hour, minute or second; for an epoch unix_seconds(t)",
        )),
    }
}

/// Whole months where both are the same day of the month or the last, else with a fraction of 31 days.
#[expect(clippy::cast_precision_loss, reason = "Spark computes it in doubles")]
fn months_between(c: Calling) -> Bound {
    let c = c.or(2, ScalarValue::Boolean(Some(true)));
    let made = numbers::<Float64Type, _>(|args, row| {
        let (a, b, round) = (args.instant(0, row)?, args.instant(1, row)?, args.flag(2, row)?);
        let ((day_a, time_a), (day_b, time_b)) = (split(a), split(b));
        let (x, y) = (civil(day_a), civil(day_b));
        let months = ((x.year * 12 + x.month) - (y.year * 12 + y.month)) as f64;
        let last = |d: &Civil| d.day == month_days(d.year, d.month);
        if x.day == y.day || (last(&x) && last(&y)) {
            return Some(months);
        }
        let seconds = (x.day - y.day) * 86_400 + time_a / SECOND_US - time_b / SECOND_US;
        let value = months + seconds as f64 / (31.0 * 86_400.0);
        Some(if round { (value * 1e8).round() / 1e8 } else { value })
    });
    c.make(DataType::Float64, &[instant(), instant(), DataType::Boolean], made)
}
