//! Values that a client binds to parameters, as constants of a query.
//!
//! A value in the binary form is brought to its text first, so that both forms mean the same. Invariant: a value becomes
//! one literal; it is never part of a text that is parsed.

use arrow::array::ArrayRef;
use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, CastKind, DataType as SqlType, ExactNumberInfo, Expr, TimezoneInfo, Value,
};

use super::refusal::Refusal;
use super::types::{
    BOOL, BPCHAR, BYTEA, CHAR, DATE, FLOAT4, FLOAT8, INT2, INT4, INT8, JSON, NAME, NUMERIC, OID, TEXT, TIME, TIMESTAMP,
    TIMESTAMPTZ, UNKNOWN, UUID, VARCHAR, item_of, type_of,
};
use super::{encode, numeric, time};

/// A constant.
pub fn literal(value: Value) -> Expr {
    Expr::Value(value.into())
}

/// A text as a constant.
pub fn text(value: impl Into<String>) -> Expr {
    literal(Value::SingleQuotedString(value.into()))
}

/// An expression brought to a type.
pub fn cast(expr: Expr, data_type: SqlType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

/// The parameter of that number, of its type where it is known.
pub fn placeholder(number: usize, type_id: u32) -> Expr {
    let bare = literal(Value::Placeholder(format!("${number}")));
    match sql_type(type_id) {
        Some(kind) => cast(bare, kind),
        None => bare,
    }
}

/// The type's name in SQL; none for one whose values take the type of what they stand beside.
fn sql_type(type_id: u32) -> Option<SqlType> {
    if let Some(item) = item_of(type_id) {
        let item = sql_type(item).unwrap_or(SqlType::Text);
        return Some(SqlType::Array(ArrayElemTypeDef::SquareBracket(Box::new(item), None)));
    }
    Some(match type_id {
        BOOL => SqlType::Boolean,
        INT2 => SqlType::SmallInt(None),
        INT4 => SqlType::Integer(None),
        INT8 => SqlType::BigInt(None),
        OID => SqlType::IntUnsigned(None),
        FLOAT4 => SqlType::Real,
        FLOAT8 | NUMERIC => SqlType::Double(ExactNumberInfo::None),
        DATE => SqlType::Date,
        TIME => SqlType::Time(None, TimezoneInfo::None),
        TIMESTAMP => SqlType::Timestamp(Some(6), TimezoneInfo::None),
        TIMESTAMPTZ => SqlType::Timestamp(Some(6), TimezoneInfo::WithTimeZone),
        TEXT | VARCHAR | BPCHAR | NAME | CHAR | UUID | JSON => SqlType::Text,
        BYTEA => SqlType::Bytea,
        _ => return None,
    })
}

/// The first value of an array as a constant; none where it is of a type that is not read here.
pub fn constant(array: &ArrayRef) -> Option<Expr> {
    let shown = encode::shown(array, 0).ok()?;
    bound(type_of(array.data_type()), false, shown.as_deref()).ok()
}

/// A bound value as a constant.
///
/// # Errors
/// When it is not a value of that type, or of a type that is not read here.
pub fn bound(type_id: u32, binary: bool, value: Option<&[u8]>) -> Result<Expr, Refusal> {
    let Some(value) = value else {
        let null = literal(Value::Null);
        return Ok(sql_type(type_id).map_or(null.clone(), |kind| cast(null, kind)));
    };
    if let Some(item) = item_of(type_id) {
        return array(item, binary, value);
    }
    let shown = if binary { shown(type_id, value)? } else { utf8(value)? };
    one(type_id, shown)
}

fn one(type_id: u32, shown: String) -> Result<Expr, Refusal> {
    let wrong = || Refusal::new("22P02", "a parameter's value is not one of its type");
    let number = |shown: String| {
        let plain = shown.trim().trim_start_matches('-');
        let fine = !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if fine { Ok(shown.trim().to_owned()) } else { Err(wrong()) }
    };
    Ok(match type_id {
        BOOL => match shown.trim().to_ascii_lowercase().as_str() {
            "t" | "true" | "1" | "on" | "yes" => literal(Value::Boolean(true)),
            "f" | "false" | "0" | "off" | "no" => literal(Value::Boolean(false)),
            _ => return Err(wrong()),
        },
        INT2 | INT4 | INT8 | OID => {
            let digits = number(shown)?;
            digits.parse::<i64>().map_err(|_| wrong())?;
            cast(text(digits), sql_type(type_id).unwrap_or(SqlType::BigInt(None)))
        }
        NUMERIC => match number(shown.clone()) {
            // A decimal number is as exact as it is written.
            Ok(digits) => match digits.strip_prefix('-') {
                Some(digits) => Expr::UnaryOp {
                    op: datafusion::sql::sqlparser::ast::UnaryOperator::Minus,
                    expr: Box::new(literal(Value::Number(digits.to_owned(), false))),
                },
                None => literal(Value::Number(digits, false)),
            },
            Err(_) if shown.trim().parse::<f64>().is_ok() => cast(text(shown), SqlType::Double(ExactNumberInfo::None)),
            Err(refusal) => return Err(refusal),
        },
        FLOAT4 | FLOAT8 if shown.trim().parse::<f64>().is_err() => return Err(wrong()),
        TEXT | VARCHAR | BPCHAR | NAME | CHAR | UUID | JSON | UNKNOWN | 0 => text(shown),
        _ => match sql_type(type_id) {
            Some(kind) => cast(text(shown), kind),
            None => text(shown),
        },
    })
}

fn utf8(value: &[u8]) -> Result<String, Refusal> {
    let wrong = || Refusal::new("22021", "a parameter's value is not UTF-8");
    String::from_utf8(value.to_vec()).map_err(|_| wrong())
}

/// The text of a value in the binary form.
fn shown(type_id: u32, value: &[u8]) -> Result<String, Refusal> {
    let wrong = || Refusal::new("22P03", "a parameter's value has not the binary form of its type");
    let fixed = |bytes: usize| if value.len() == bytes { Ok(()) } else { Err(wrong()) };
    let integer = || {
        value.iter().fold(if value.first().is_some_and(|byte| *byte >= 128) { -1 } else { 0 }, |sum: i64, byte| {
            (sum << 8) | i64::from(*byte)
        })
    };
    Ok(match type_id {
        BOOL => {
            fixed(1)?;
            if value == [0] { "f".to_owned() } else { "t".to_owned() }
        }
        INT2 => fixed(2).map(|()| integer().to_string())?,
        INT4 => fixed(4).map(|()| integer().to_string())?,
        INT8 => fixed(8).map(|()| integer().to_string())?,
        OID => fixed(4).map(|()| (integer() & 0xFFFF_FFFF).to_string())?,
        FLOAT4 => f32::from_be_bytes(value.try_into().map_err(|_| wrong())?).to_string(),
        FLOAT8 => f64::from_be_bytes(value.try_into().map_err(|_| wrong())?).to_string(),
        NUMERIC => numeric::text(value).ok_or_else(wrong)?,
        DATE => fixed(4)
            .map(|()| integer())?
            .checked_add(i64::from(time::EPOCH_DAYS))
            .and_then(|days| i32::try_from(days).ok())
            .map(time::date)
            .ok_or_else(wrong)?,
        TIME => fixed(8).map(|()| time::time(integer()))?,
        TIMESTAMP | TIMESTAMPTZ => {
            fixed(8)?;
            let micros = integer().checked_add(time::EPOCH_MICROS).ok_or_else(wrong)?;
            time::timestamp(micros, type_id == TIMESTAMPTZ)
        }
        UUID => uuid::Uuid::from_slice(value).map_err(|_| wrong())?.to_string(),
        TEXT | VARCHAR | BPCHAR | NAME | CHAR | JSON | UNKNOWN | 0 => utf8(value)?,
        _ => return Err(Refusal::unsupported("a parameter has a type that is not read here: send it as text")),
    })
}

/// Values of an array at most.
const ITEMS_MAX: usize = 50_000;

fn array(item: u32, binary: bool, value: &[u8]) -> Result<Expr, Refusal> {
    let items = if binary { binary_items(value) } else { text_items(&utf8(value)?) };
    let items = items.ok_or_else(|| Refusal::new("22P02", "a parameter's value is not an array of one dimension"))?;
    if items.len() > ITEMS_MAX {
        return Err(Refusal::new("54000", format!("an array has more than {ITEMS_MAX} values")));
    }
    let elem = items
        .into_iter()
        .map(|item_value| bound(item, binary, item_value.as_deref()))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Expr::Array(Array { elem, named: true }))
}

fn binary_items(mut value: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    let next = |value: &mut &[u8]| {
        let (four, rest) = value.split_first_chunk::<4>()?;
        *value = rest;
        Some(i32::from_be_bytes(*four))
    };
    let (dimensions, _, _) = (next(&mut value)?, next(&mut value)?, next(&mut value)?);
    if dimensions == 0 {
        return Some(Vec::new());
    }
    let (count, _) = (next(&mut value)?, next(&mut value)?);
    if dimensions != 1 || usize::try_from(count).ok()? > value.len() {
        return None;
    }
    (0..count)
        .map(|_| match usize::try_from(next(&mut value)?) {
            Ok(length) => {
                let (item, rest) = value.split_at_checked(length)?;
                value = rest;
                Some(Some(item.to_vec()))
            }
            Err(_) => Some(None),
        })
        .collect()
}

/// The items of `{a,"b c",NULL}`; none where it is no such text.
pub fn text_items(shown: &str) -> Option<Vec<Option<Vec<u8>>>> {
    let inner = shown.trim().strip_prefix('{')?.strip_suffix('}')?;
    let (mut items, mut signs) = (Vec::new(), inner.chars().peekable());
    if inner.trim().is_empty() {
        return Some(items);
    }
    loop {
        while signs.next_if(|sign| sign.is_whitespace()).is_some() {}
        let (mut item, mut quoted) = (String::new(), false);
        if signs.next_if_eq(&'"').is_some() {
            quoted = true;
            loop {
                match signs.next()? {
                    '"' => break,
                    '\\' => item.push(signs.next()?),
                    sign => item.push(sign),
                }
            }
            while signs.next_if(|sign| sign.is_whitespace()).is_some() {}
        } else {
            while let Some(sign) = signs.next_if(|sign| *sign != ',') {
                match sign {
                    '{' | '}' | '"' => return None,
                    '\\' => item.push(signs.next()?),
                    sign => item.push(sign),
                }
            }
            item = item.trim_end().to_owned();
        }
        let is_null = !quoted && item.eq_ignore_ascii_case("null");
        items.push(if is_null { None } else { Some(item.into_bytes()) });
        match signs.next() {
            None => return Some(items),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(INT2, &[0xff, 0xfe], "CAST('-2' AS SMALLINT)")]
    #[case(INT8, &[0, 0, 0, 0, 0, 0, 1, 0], "CAST('256' AS BIGINT)")]
    #[case(FLOAT8, &[0x3f, 0xf8, 0, 0, 0, 0, 0, 0], "CAST('1.5' AS DOUBLE)")]
    #[case(DATE, &[0, 0, 0, 1], "CAST('2000-01-02' AS DATE)")]
    #[case(BOOL, &[1], "true")]
    #[case(TEXT, b"it's", "'it''s'")]
    fn values_in_the_binary_form_are_those_of_their_texts(
        #[case] type_id: u32,
        #[case] value: &[u8],
        #[case] sql: &str,
    ) {
        assert_eq!(bound(type_id, true, Some(value)).unwrap().to_string(), sql);
    }

    #[test]
    fn values_of_another_form_are_refused() {
        for (type_id, binary, value) in [
            (INT4, true, b"\0\0".as_slice()),
            (INT4, false, b"1; DROP TABLE x"),
            (INT4, false, b"1e3"),
            (NUMERIC, false, b"1 OR 1"),
            (FLOAT8, false, b"x"),
            (BOOL, false, b"maybe"),
            (TEXT, false, b"\xff"),
            (1007, false, b"{1,{2}}"),
            (1007, true, b"\0\0\0\x01\0\0\0\0\0\0\0\x17\x7f\xff\xff\xff\0\0\0\x01"),
        ] {
            assert!(bound(type_id, binary, Some(value)).is_err(), "{type_id} {value:?}");
        }
    }

    #[test]
    fn arrays_are_lists_of_constants() {
        let list = bound(1009, false, Some(br#"{a,"b, \"c\"",NULL,"NULL"}"#)).unwrap().to_string();
        assert_eq!(list, "ARRAY['a', 'b, \"c\"', CAST(NULL AS TEXT), 'NULL']");
        assert_eq!(bound(1007, false, Some(b"{}")).unwrap().to_string(), "ARRAY[]");
    }
}
