//! Constants and names of types, as Spark writes them: `1L`, `1.5` (a DECIMAL), `1e3` (a DOUBLE), `DATE '2024-1-5'`,
//! the escapes of a text.
//!
//! Pure; between the parser and the binder. Invariant: a constant has exactly the type that Spark gives it.

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::lit;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::ast::{ExactNumberInfo, Value};

use crate::functions::bind::{Bound, Refusal, Typed};
use crate::functions::kinds::{BYTES, TEXT, decimal, list_of, map_of};
use crate::functions::text_number::parse_decimal;
use crate::functions::text_time::{parse_day, parse_instant};
use crate::session::instant;

/// What a number's suffix is held as between the tokens and here: no number that is written ends with it.
pub(crate) const SUFFIX: char = '~';

pub(crate) fn value(value: &Value) -> Bound {
    match value {
        Value::Number(text, long) => number(text, *long, false),
        Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Ok(text_value(text)),
        Value::Boolean(flag) => Ok(Typed::flag(lit(*flag))),
        Value::Null => Ok(Typed::new(lit(ScalarValue::Null), DataType::Null)),
        Value::HexStringLiteral(text) => bytes(text),
        other => Err(Refusal::new(format!("{other} is no constant of Spark"), "write it in single quotes")),
    }
}

pub(crate) fn text_value(text: &str) -> Typed {
    Typed::new(lit(ScalarValue::Utf8View(Some(text.to_owned()))), TEXT)
}

fn bytes(text: &str) -> Bound {
    let padded = if text.len() % 2 == 1 { format!("0{text}") } else { text.to_owned() };
    let made: Option<Vec<u8>> = (0..padded.len() / 2)
        .map(|i| padded.get(2 * i..2 * i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    match made {
        Some(made) => Ok(Typed::new(lit(ScalarValue::BinaryView(Some(made))), BYTES)),
        None => Err(Refusal::new("X'…' holds hexadecimal digits", "write an even number of 0-9 and A-F")),
    }
}

/// A minus before a number belongs to it: the smallest BIGINT has no positive counterpart.
pub(crate) fn negative(inner: &ast::Expr) -> Option<Bound> {
    let ast::Expr::Value(value) = inner else { return None };
    let Value::Number(text, long) = &value.value else { return None };
    Some(number(text, *long, true))
}

fn number(text: &str, long: bool, negative: bool) -> Bound {
    let sign = if negative { "-" } else { "" };
    let (digits, suffix) = text.split_once(SUFFIX).unwrap_or((text, if long { "L" } else { "" }));
    let signed = format!("{sign}{digits}");
    let bad = |what: &str| Refusal::new(format!("this is no {what}"), "write a number that the type holds");
    let suffix = suffix.to_uppercase();
    let made = match suffix.as_str() {
        "L" => signed.parse().map(|v: i64| Typed::new(lit(v), DataType::Int64)).map_err(|_| bad("BIGINT"))?,
        "S" => signed.parse().map(|v: i16| Typed::new(lit(v), DataType::Int16)).map_err(|_| bad("SMALLINT"))?,
        "Y" => signed.parse().map(|v: i8| Typed::new(lit(v), DataType::Int8)).map_err(|_| bad("TINYINT"))?,
        "D" => signed.parse().map(|v: f64| Typed::new(lit(v), DataType::Float64)).map_err(|_| bad("DOUBLE"))?,
        "F" => signed.parse().map(|v: f32| Typed::new(lit(v), DataType::Float32)).map_err(|_| bad("FLOAT"))?,
        "BD" => return decimal_value(&signed),
        _ if digits.contains(['e', 'E']) => {
            let value: f64 = signed.parse().map_err(|_| bad("DOUBLE"))?;
            if value.is_infinite() {
                return Err(bad("DOUBLE"));
            }
            Typed::new(lit(value), DataType::Float64)
        }
        _ if digits.contains('.') => return decimal_value(&signed),
        _ => {
            if let Ok(value) = signed.parse::<i32>() {
                Typed::new(lit(value), DataType::Int32)
            } else if let Ok(value) = signed.parse::<i64>() {
                Typed::new(lit(value), DataType::Int64)
            } else {
                return decimal_value(&signed);
            }
        }
    };
    Ok(made)
}

fn decimal_value(text: &str) -> Bound {
    let bad = || Refusal::new("this number has more than 38 digits", "write fewer, or a DOUBLE such as 1e40");
    let (value, scale) = parse_decimal(text).ok_or_else(bad)?;
    let (value, scale) = if scale < 0 { (value * 10_i128.pow(scale.unsigned_abs()), 0) } else { (value, scale) };
    let digits = i32::try_from(value.unsigned_abs().to_string().len()).unwrap_or(38);
    let kind = decimal(digits.max(scale), scale);
    let DataType::Decimal128(precision, scale) = kind else { return Err(bad()) };
    Ok(Typed::new(lit(ScalarValue::Decimal128(Some(value), precision, scale)), kind))
}

/// `DATE '…'` and `TIMESTAMP '…'`.
pub(crate) fn typed(typed: &ast::TypedString) -> Bound {
    let text = match &typed.value.value {
        Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.as_str(),
        _ => return Err(Refusal::new("a constant of this type is written as text", "write DATE '2024-01-31'")),
    };
    let kind = sql_type(&typed.data_type)?;
    match kind {
        DataType::Date32 => {
            let day = parse_day(text);
            let help = "write it as DATE '2024-01-31'";
            let day = day.ok_or_else(|| Refusal::new("this text is no date", help))?;
            Ok(Typed::new(lit(ScalarValue::Date32(Some(day))), kind))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let at = parse_instant(text);
            let help = "write it as TIMESTAMP '2024-01-31 12:00:00'";
            let at = at.ok_or_else(|| Refusal::new("this text is no timestamp", help))?;
            Ok(Typed::new(lit(ScalarValue::TimestampMicrosecond(Some(at), Some("UTC".into()))), kind))
        }
        _ => Err(Refusal::new("a constant of this type is not known here", "write CAST('…' AS type)")),
    }
}

/// A type by Spark's names.
pub(crate) fn sql_type(kind: &ast::DataType) -> Result<DataType, Refusal> {
    use ast::DataType as T;
    let unknown = || Refusal::new(format!("{kind} is no type that models know"), "use one of Spark's, such as BIGINT");
    Ok(match kind {
        T::Boolean | T::Bool => DataType::Boolean,
        T::TinyInt(None) => DataType::Int8,
        T::SmallInt(None) => DataType::Int16,
        T::Int(None) | T::Integer(None) => DataType::Int32,
        T::BigInt(None) => DataType::Int64,
        T::Float(ExactNumberInfo::None) | T::Real => DataType::Float32,
        T::Double(ExactNumberInfo::None) => DataType::Float64,
        T::Decimal(info) | T::Dec(info) | T::Numeric(info) => decimal_type(*info)?,
        T::String(None) | T::Varchar(_) | T::Char(_) | T::Character(_) => TEXT,
        T::Binary(None) => BYTES,
        T::Date => DataType::Date32,
        T::Timestamp(None, ast::TimezoneInfo::None) => instant(),
        T::TimestampNtz(_) | T::Timestamp(_, _) => {
            return Err(Refusal::new(
                "a timestamp without a zone is not stored here",
                "use TIMESTAMP, which is an instant",
            ));
        }
        T::Array(ast::ArrayElemTypeDef::AngleBracket(inner)) => list_of(sql_type(inner)?),
        T::Map(key, value) => map_of(sql_type(key)?, sql_type(value)?),
        T::Struct(fields, _) => DataType::Struct(struct_fields(fields)?.into()),
        T::Custom(name, _) => match name.to_string().to_uppercase().as_str() {
            "LONG" => DataType::Int64,
            "SHORT" => DataType::Int16,
            "BYTE" => DataType::Int8,
            "TIMESTAMP_LTZ" => instant(),
            "STRING" => TEXT,
            "TIMESTAMP_NTZ" => {
                return Err(Refusal::new(
                    "a timestamp without a zone is not stored here",
                    "use TIMESTAMP, which is an instant",
                ));
            }
            _ => return Err(unknown()),
        },
        _ => return Err(unknown()),
    })
}

fn struct_fields(fields: &[ast::StructField]) -> Result<Vec<Field>, Refusal> {
    fields
        .iter()
        .map(|field| {
            let name = field.field_name.as_ref().map(|n| n.value.clone()).unwrap_or_default();
            Ok(Field::new(name, sql_type(&field.field_type)?, true))
        })
        .collect()
}

fn decimal_type(info: ExactNumberInfo) -> Result<DataType, Refusal> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (10, 0),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    let whole = |n: u64| i32::try_from(n).unwrap_or(i32::MAX);
    let scale = i32::try_from(scale).unwrap_or(-1);
    if !(1..=38).contains(&precision) || scale < 0 || scale > whole(precision) {
        return Err(Refusal::new("a DECIMAL has 1 to 38 digits, and no more after the point", "write DECIMAL(18, 2)"));
    }
    Ok(decimal(whole(precision), scale))
}

/// A text between quotes with Spark's escapes resolved: `\t`, `\u0041`, `\101`; `\%` and `\_` stay for LIKE.
pub(crate) fn unescaped(raw: &str, quote: char) -> String {
    let mut made = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(character) = rest.chars().next() {
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
        if character == quote && rest.starts_with(quote) {
            rest = rest.get(quote.len_utf8()..).unwrap_or_default();
        } else if character == '\\' {
            rest = escape(rest, &mut made);
            continue;
        }
        made.push(character);
    }
    made
}

/// One escape, without its backslash; gives what follows it.
fn escape<'a>(rest: &'a str, made: &mut String) -> &'a str {
    let Some(character) = rest.chars().next() else {
        made.push('\\');
        return rest;
    };
    let after = rest.get(character.len_utf8()..).unwrap_or_default();
    let coded = |from: usize, digits: usize, radix: u32| {
        let digits = rest.get(from..from + digits)?;
        let code = u32::from_str_radix(digits, radix).ok()?;
        char::from_u32(code)
    };
    let octal = rest.as_bytes().first().is_some_and(|b| (b'0'..=b'1').contains(b))
        && rest.as_bytes().get(1..3).is_some_and(|d| d.iter().all(|b| (b'0'..=b'7').contains(b)));
    if octal && let Some(code) = coded(0, 3, 8) {
        made.push(code);
        return rest.get(3..).unwrap_or_default();
    }
    if character == 'u'
        && let Some(code) = coded(1, 4, 16)
    {
        made.push(code);
        return rest.get(5..).unwrap_or_default();
    }
    if character == 'U'
        && let Some(code) = coded(1, 8, 16)
    {
        made.push(code);
        return rest.get(9..).unwrap_or_default();
    }
    match character {
        '0' => made.push('\0'),
        'b' => made.push('\u{8}'),
        'n' => made.push('\n'),
        'r' => made.push('\r'),
        't' => made.push('\t'),
        'Z' => made.push('\u{1a}'),
        '%' | '_' => {
            made.push('\\');
            made.push(character);
        }
        other => made.push(other),
    }
    after
}
